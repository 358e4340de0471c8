"""Function calling over OpenAI's API: what requests say of tools, and the calls in completions."""

"""Generation by vLLM: in this process, or by servers that it pushes weights to."""

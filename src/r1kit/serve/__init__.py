"""An OpenAI-compatible API for r1kit's models. Needs the extra `serve`."""

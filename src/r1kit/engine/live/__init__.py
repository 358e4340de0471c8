"""Live engines: completions of requests that come and go."""

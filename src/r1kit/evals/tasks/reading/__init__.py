"""Reading: answers from passages that the prompt contains."""

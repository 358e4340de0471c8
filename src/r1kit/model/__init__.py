"""The decoder, its attention patterns, and Hugging Face checkpoints."""

"""What a run gives away: checkpoints as Hugging Face models, and repositories on the hub."""

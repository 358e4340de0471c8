"""Training: objectives, log-probabilities, the policy update, optimizer and checkpoints."""

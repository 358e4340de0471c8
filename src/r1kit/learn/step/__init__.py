"""What a step computes with its models: the passes over its batch, and the critic of PPO."""

"""Environments: what answers the policy within an episode, such as tools, users and simulations."""

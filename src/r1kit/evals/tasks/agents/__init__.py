"""Agents: the program of the benchmark's authors asks an endpoint and runs the tests in containers."""

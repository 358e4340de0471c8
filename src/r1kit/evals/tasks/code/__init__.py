"""Programs that tests check in the sandbox."""

"""The sandbox tiers: `tiers/NAME.py` has `open_tier()`, which opens the tier NAME of `r1kit.types.SandboxTier`."""

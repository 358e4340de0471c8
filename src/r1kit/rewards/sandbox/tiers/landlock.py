"""Tier landlock: candidates read only Python's library, write nowhere and make few system calls.

For containers and distributions that do not grant user namespaces. A candidate can still learn which files exist,
because Landlock does not govern `stat`.
"""

from __future__ import annotations

from r1kit.rewards.sandbox.native.sandbox import NativeSandbox
from r1kit.types import SandboxTier


class LandlockSandbox(NativeSandbox):
    """Fork servers confined by Landlock, seccomp and resource limits."""

    name: SandboxTier = "landlock"


def open_tier() -> LandlockSandbox:
    """Open the tier. Raises InfraError where the kernel lacks Landlock ABI 3."""
    return LandlockSandbox()

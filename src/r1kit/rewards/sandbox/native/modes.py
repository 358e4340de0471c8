"""Task modes that need a fork server of their own, because they load other modules than programs do."""

from __future__ import annotations

OWN_SERVER: dict[str, tuple[str, ...]] = {  # mode -> the modules that its server imports
    "symbolic": ("r1kit.rewards.math.sympy_guest",),
    "gym": ("reasoning_gym",),
    "compile": (),
    "library": (),
}

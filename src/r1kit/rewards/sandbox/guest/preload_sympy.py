"""Loads the standard library and sympy for the snapshot of the wasm component."""

from __future__ import annotations

import sys
import types

import r1kit.rewards.sandbox.guest.stdlib  # noqa: F401  first, because sympy keeps references to clocks
from r1kit.rewards.sandbox.guest.patch import patch

# Formulas that make sympy import the modules it loads lazily.
WARM_UP = [(r"\sin(x)^2+\cos(x)^2", "1"), (r"\sqrt{8}", r"2\sqrt{2}"), (r"\frac{x^2-1}{x-1}", "x+1"), ("x!", r"\log x")]

# ctypes needs a dynamic linker. All that sympy uses of it is the size of a C long.
sys.modules["ctypes"] = types.ModuleType("ctypes")
patch(sys.modules["ctypes"], c_long=int, sizeof=lambda kind: 8)
from r1kit.rewards.math.sympy_guest import equal  # noqa: E402

del sys.modules["ctypes"]
for gold, answer in WARM_UP:
    equal(gold, answer)

"""The component with sympy loaded as well. Its snapshot is four times the other's, and so every run costs more."""

from __future__ import annotations

import sys
import types

import r1kit.rewards.sandbox.guest.library  # noqa: F401  first: sympy takes hold of clocks

# sympy imports some of its parts when they are first needed; these need them.
WARM_UP = [(r"\sin(x)^2+\cos(x)^2", "1"), (r"\sqrt{8}", r"2\sqrt{2}"), (r"\frac{x^2-1}{x-1}", "x+1"), ("x!", r"\log x")]


# All that sympy wants of ctypes, which needs a linker, is the size of a C long.
sys.modules["ctypes"] = types.SimpleNamespace(c_long=int, sizeof=lambda kind: 8)
from r1kit.rewards.math.sympy_guest import equal  # noqa: E402

del sys.modules["ctypes"]
for gold, answer in WARM_UP:
    equal(gold, answer)
from r1kit.rewards.sandbox.guest.component import WitWorld  # noqa: E402, F401

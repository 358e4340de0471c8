"""The tools that r1kit has, by name."""

from __future__ import annotations

from collections.abc import Sequence

from r1kit.errors import UserError
from r1kit.tools.base import Tool
from r1kit.tools.calculator import CALCULATOR
from r1kit.tools.python import PYTHON

BUILT_IN = {tool.name: tool for tool in (CALCULATOR, PYTHON)}


def tools_named(names: Sequence[str]) -> list[Tool]:
    """Return tools, each once. UserError if there is none of a name."""
    for name in names:
        if name not in BUILT_IN:
            raise UserError(f"tool {name!r}: must be one of {', '.join(BUILT_IN)}")
    return [BUILT_IN[name] for name in dict.fromkeys(names)]

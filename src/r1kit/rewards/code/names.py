"""The names that a block of Python defines, and those that it needs from elsewhere. Text is searched, not parsed.

A block is hostile, and Python's parser is not safe on hostile text. A name too many or too few costs an answer nothing
but the choice of its blocks: the tests judge the program that results.
"""

from __future__ import annotations

import re
from functools import cached_property

_SILENT = re.compile(r'''"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"[^"\n]*"|'[^'\n]*'|#.*''')
_WORD = re.compile(r"(?<![\w.])[^\W\d]\w*")
_IMPORT = re.compile(r"^(?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+(?:\(([^)]{0,2000})\)|([^\n(]+))", re.MULTILINE)
_ONLY_IMPORTS = re.compile(r"(?:\s*(?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+(?:\([^)]{0,2000}\)|[^\n(]+))+\s*")
# Definitions at the start of a line, and names that are bound anywhere.
_DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)|^(\w+)[ \t]*(?::[^=\n]{1,80})?=(?!=)", re.MULTILINE)
_BOUND = re.compile(r"\b(?:def|class)[ \t]+(\w+)|\b(\w+)[ \t]*(?::[^=\n]{1,80})?=(?!=)|\bas[ \t]+(\w+)")
_BOUND_LISTS = re.compile(
    r"\bfor[ \t]+([\w, ()*]{1,200}?)[ \t]+in\b|\bdef[ \t]+\w+\(([^)]{0,2000})|\blambda\b([^:\n]{0,200}):"
)
_SOLUTION = re.compile(r"^class[ \t]+Solution\b", re.MULTILINE)
_METHOD = re.compile(r"^[ \t]+(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)


class Source:
    """A block of Python, searched for names."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._code = _SILENT.sub(" ", text)

    @cached_property
    def defines(self) -> frozenset[str]:
        """Names that the block defines for others: functions, classes, imports, variables, methods of `Solution`."""
        names = {name for pair in _DEFINED.findall(self._code) for name in pair}
        if solution := _SOLUTION.search(self._code):
            names |= {*_METHOD.findall(self._code, solution.end())}
        return frozenset(names | self._imported) - {""}

    @cached_property
    def needs(self) -> frozenset[str]:
        """Names that the block uses and never binds."""
        bound = {name for names in _BOUND.findall(self._code) for name in names}
        for lists in _BOUND_LISTS.findall(self._code):
            bound |= {*_WORD.findall(" ".join(lists))}
        return frozenset(_WORD.findall(self._code)) - bound - self._imported

    @cached_property
    def only_imports(self) -> bool:
        """Whether the block consists of imports."""
        return _ONLY_IMPORTS.fullmatch(self._code) is not None

    @cached_property
    def _imported(self) -> set[str]:
        parts = [part.split() for pair in _IMPORT.findall(self._code) for part in "".join(pair).split(",")]
        return {words[-1].split(".")[0] for words in parts if words}

"""The program in a response, and how its tests reach it. Nothing here parses the program: it is hostile text."""

from __future__ import annotations

import re
import textwrap

from r1kit.data.response import split_response
from r1kit.rewards.sandbox.base import Language

LONGEST = 100_000  # characters
FENCES = {"python": ("python", "python3", "py"), "cpp": ("cpp", "c++", "cc", "cxx")}  # what marks a block
# A block ends at a fence that starts a line, at one that ends the text, or, when none does, with the text.
_BLOCK = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^`\n]*\n(.*?)(?:^[ \t]*```|```\s*\Z|\Z)", re.DOTALL | re.MULTILINE)
_FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
_SOLUTION = re.compile(r"^class Solution\b", re.MULTILINE)
_DEFINED = re.compile(r"^(?:async[ \t]+)?def[ \t]+(\w+)|^(\w+)[ \t]*=[ \t]*lambda\b", re.MULTILINE)
_METHOD = re.compile(r"^[ \t]+def[ \t]+([^\W_]\w*)[ \t]*\([ \t]*self\b", re.MULTILINE)
LEETCODE = "from r1kit.rewards.sandbox.guest.leetcode import *\n"


def extract(response: str, think_open: bool = False, language: Language = "python") -> str | None:
    """The program a response ends in, or None: after the last `</think>`, within the last `<answer>` if there is one,
    the last fenced block marked as its language (else the last unmarked one), or all of the text when none is fenced.

    A block that is never closed counts: a model may end its text right after the program.
    """
    if (text := _told(response, think_open)) is None:
        return None
    blocks = _blocks(text)
    marked = [body for mark, body in blocks if mark in FENCES[language]]
    unmarked = [body for mark, body in blocks if not mark]
    found = marked or unmarked or ([] if blocks else [text])
    program = textwrap.dedent(found[-1]).strip("\n") if found else ""
    return program + "\n" if program.strip() else None


def language_of(response: str, think_open: bool = False) -> Language:
    """C++ where the blocks are marked so and none as Python."""
    marks = {mark for mark, _ in _blocks(_told(response, think_open) or "")}
    return "cpp" if marks & {*FENCES["cpp"]} and not marks & {*FENCES["python"]} else "python"


def _told(response: str, think_open: bool) -> str | None:
    """What follows the thought, or the answer in it; None when the thought never ends."""
    parts = split_response(response, think_open)
    if "<think>" in parts.summary or (think_open and "</think>" not in response):
        return None
    return parts.summary if parts.answer is None else parts.answer


def _blocks(text: str) -> list[tuple[str, str]]:
    return [(mark.lower(), body) for mark, body in _BLOCK.findall(text + "\n")]


def runnable(program: str) -> str:
    """The program as the sandbox gets it: one with a `class Solution` finds LeetCode's usual names."""
    if not _SOLUTION.search(program):
        return program
    start = max((match.end() for match in _FUTURE.finditer(program)), default=0)
    return program[:start] + LEETCODE + program[start:]


def entry_point(program: str, problem: str = "") -> str | None:
    """The function that call tests mean when they do not say: "f" or "Solution().f"; None when there is none.

    Of several, the one that the problem names, else the last function (not main) or the first method. A program cannot
    gain from the choice: they are all its own.
    """
    solution = _SOLUTION.search(program)
    names = [name for pair in _DEFINED.findall(program) if (name := "".join(pair)) != "main"]
    if solution:
        names = _METHOD.findall(program, solution.end())[::-1]
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", problem)]
    if not names:
        return None
    return ("Solution()." if solution else "") + (named or names)[-1]

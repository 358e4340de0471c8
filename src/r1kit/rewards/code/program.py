"""Extract the program from a response and find its entry point. The program is hostile text and is not parsed."""

from __future__ import annotations

import re
import textwrap

from r1kit.data.response import split_response
from r1kit.rewards.sandbox.base import Language

MAX_CHARACTERS = 100_000
# What models write after a fence to name the language.
FENCES = {"python": ("python", "python3", "py"), "cpp": ("cpp", "c++", "cc", "cxx")}
# A block ends at a fence at the start of a line, at a fence at the end of the text, or at the end of the text.
_BLOCK = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[^`\n]*\n(.*?)(?:^[ \t]*```|```\s*\Z|\Z)", re.DOTALL | re.MULTILINE)
_FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
_SOLUTION = re.compile(r"^class Solution\b", re.MULTILINE)
_DEFINED = re.compile(r"^(?:async[ \t]+)?def[ \t]+(\w+)|^(\w+)[ \t]*=[ \t]*lambda\b", re.MULTILINE)
_METHOD = re.compile(r"^[ \t]+def[ \t]+([^\W_]\w*)[ \t]*\([ \t]*self\b", re.MULTILINE)
LEETCODE = "from r1kit.rewards.sandbox.guest.leetcode import *\n"


def extract(response: str, think_open: bool = False, language: Language = "python") -> str | None:
    """Return the program of a response, or None.

    It is looked for after the last `</think>`, inside the last `<answer>` if there is one: the last fenced block of
    this language, else the last block without a language, else the complete text if it has no block. An unclosed block
    counts, as a model may end its text right after the program.
    """
    if (text := _visible_text(response, think_open)) is None:
        return None
    blocks = _blocks(text)
    marked = [body for mark, body in blocks if mark in FENCES[language]]
    unmarked = [body for mark, body in blocks if not mark]
    candidates = marked or unmarked or ([] if blocks else [text])
    program = textwrap.dedent(candidates[-1]).strip("\n") if candidates else ""
    return program + "\n" if program.strip() else None


def language_of(response: str, think_open: bool = False) -> Language:
    """Return "cpp" if a fenced block is marked as C++ and none as Python, else "python"."""
    marks = {mark for mark, _ in _blocks(_visible_text(response, think_open) or "")}
    return "cpp" if marks & {*FENCES["cpp"]} and not marks & {*FENCES["python"]} else "python"


def _visible_text(response: str, think_open: bool) -> str | None:
    """Return the answer, else all text after the thinking; None if the thinking is unfinished."""
    parts = split_response(response, think_open)
    if parts.unfinished:
        return None
    return parts.summary if parts.answer is None else parts.answer


def _blocks(text: str) -> list[tuple[str, str]]:
    return [(mark.lower(), body) for mark, body in _BLOCK.findall(text + "\n")]


def runnable(program: str) -> str:
    """Return the program for the sandbox; one with a `class Solution` gets LeetCode's usual imports."""
    if not _SOLUTION.search(program):
        return program
    start = max((match.end() for match in _FUTURE.finditer(program)), default=0)
    return program[:start] + LEETCODE + program[start:]


def entry_point(program: str, problem: str = "") -> str | None:
    """Return the function that call tests without a name should call: "f" or "Solution().f"; None if there is none.

    Of several, it is one that the problem names, else the last function (not main) or the first method. A program
    cannot gain from the choice, as all of them are its own.
    """
    solution = _SOLUTION.search(program)
    names = [name for pair in _DEFINED.findall(program) if (name := "".join(pair)) != "main"]
    if solution:
        names = _METHOD.findall(program, solution.end())[::-1]
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", problem)]
    if not names:
        return None
    return ("Solution()." if solution else "") + (named or names)[-1]

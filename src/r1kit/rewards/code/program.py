"""Choose the program among the blocks of a response. The program is hostile text and is not parsed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Sequence

from r1kit.data.response import split_response
from r1kit.rewards.code.blocks import FENCES, find_blocks, without_prose
from r1kit.rewards.code.names import Source
from r1kit.rewards.sandbox.base import Language

MAX_CHARACTERS = 100_000
_FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
_SOLUTION = re.compile(r"^class Solution\b", re.MULTILINE)
_DEFINED = re.compile(r"^(?:async[ \t]+)?def[ \t]+(\w+)|^(\w+)[ \t]*=[ \t]*lambda\b", re.MULTILINE)
_METHOD = re.compile(r"^[ \t]+def[ \t]+([^\W_]\w*)[ \t]*\([ \t]*self\b", re.MULTILINE)
_NOT_ASKED_FOR = re.compile(r"main|tests?|(?:test|run)_\w+")
_READS_INPUT = re.compile(r"\b(?:input|stdin|cin|scanf|getline|fileinput|getchar)\b|\bopen\(\s*(?:0|['\"]/dev/stdin)")
MAX_BLOCKS = 50  # of a response that are searched for names, the last ones
LEETCODE = "from r1kit.rewards.sandbox.guest.leetcode import *\n"


def extract(
    response: str,
    think_open: bool = False,
    language: Language = "python",
    names: Collection[str] | None = None,
) -> str | None:
    """Return the program of a response, or None.

    It is looked for after the last `</think>`, inside the last `<answer>` if there is one: in the fenced blocks of this
    language, else in the blocks without a language, else in the complete text if it has no block. Of several blocks the
    last one counts that has what the tests need, together with the blocks that define what it uses.

    Args:
        response: The completion.
        think_open: Whether the prompt ended in `<think>`.
        language: The language of the program.
        names: The functions and classes that the tests use ("f" or "Solution().f"); empty if they call a function that
            they do not name; None if they run the program with an input.
    """
    if (text := _visible_text(response, think_open)) is None:
        return None
    blocks = find_blocks(text)
    if not blocks:
        program = textwrap.dedent(without_prose(text.split("\n")))
    else:
        marked = [body for mark, body in blocks if mark in FENCES[language]]
        unmarked = [body for mark, body in blocks if not mark]
        mixed = [body for mark, body in blocks if not mark or mark in FENCES[language]]
        needed = None if names is None else {*map(_asked_name, names)}
        program = _chosen(marked or unmarked, mixed, needed)
    program = program.strip("\n")
    return program + "\n" if program.strip() else None


def _chosen(preferred: list[str], others: list[str], names: set[str] | None) -> str:
    """Return the program of several blocks; `others` serve if no preferred block has what the tests need."""
    if len(others) < 2 or sum(map(len, others)) > MAX_CHARACTERS:
        return preferred[-1] if preferred else ""
    for bodies in (preferred, others):
        sources = [Source(body) for body in bodies[-MAX_BLOCKS:] if not body.lstrip().startswith(">>>")]
        for source in reversed(sources):
            if _serves(source, names):
                return _with_helpers(source, sources, names or set())
    return preferred[-1]


def _serves(source: Source, names: set[str] | None) -> bool:
    """Return whether a block has what the tests need: an input to read, a function, or one of these names."""
    if names is None:
        return _READS_INPUT.search(source.text) is not None
    return bool(names & source.defines) if names else entry_point(source.text) is not None


def _with_helpers(base: Source, sources: Sequence[Source], names: set[str]) -> str:
    """Return the block joined with the blocks of imports and those that define what it or the tests use."""
    chosen = [base]
    missing = (names | base.needs) - base.defines
    while helper := next((s for s in reversed(sources) if s not in chosen and s.defines & missing), None):
        chosen.append(helper)
        missing = (missing | helper.needs) - set().union(*(source.defines for source in chosen))
    return "\n\n".join(source.text for source in sources if source in chosen or source.only_imports)


def _asked_name(function: str) -> str:
    owner, _, name = function.rpartition("().")
    return name if owner in ("", "Solution") else owner


def language_of(response: str, think_open: bool = False) -> Language:
    """Return "cpp" if a fenced block is marked as C++ and none as Python, else "python"."""
    marks = {mark for mark, _ in find_blocks(_visible_text(response, think_open) or "")}
    return "cpp" if marks & {*FENCES["cpp"]} and not marks & {*FENCES["python"]} else "python"


def _visible_text(response: str, think_open: bool) -> str | None:
    """Return the answer, else all text after the thinking; None if the thinking is unfinished."""
    parts = split_response(response, think_open)
    if parts.unfinished:
        return None
    return parts.summary if parts.answer is None else parts.answer


def runnable(program: str) -> str:
    """Return the program for the sandbox; one with a `class Solution` gets LeetCode's usual imports."""
    if not _SOLUTION.search(program):
        return program
    start = max((match.end() for match in _FUTURE.finditer(program)), default=0)
    return program[:start] + LEETCODE + program[start:]


def entry_point(program: str, problem: str = "") -> str | None:
    """Return the function that call tests without a name should call: "f" or "Solution().f"; None if there is none.

    Of several, it is one that the problem names, else the last function (not main, nor a test) or the first method. A
    program cannot gain from the choice, as all of them are its own.
    """
    solution = _SOLUTION.search(program)
    names = [name for pair in _DEFINED.findall(program) if (name := "".join(pair))]
    if solution:
        names = _METHOD.findall(program, solution.end())[::-1]
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", problem)]
    names = named or [name for name in names if not _NOT_ASKED_FOR.fullmatch(name)]
    return ("Solution()." if solution else "") + names[-1] if names else None

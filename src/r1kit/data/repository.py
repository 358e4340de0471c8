"""Small repositories of Python files as text, and answers that change them.

A file is a heading with its path and a fenced block. In an answer, a block is either the complete new file or one or
more replacements, each of lines that occur in the file exactly once:

    ### shop/cart.py
    ```python
    <<<<<<< SEARCH
        return price
    =======
        return price * count
    >>>>>>> REPLACE
    ```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

SEARCH, DIVIDER, REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
MAX_FILES, MAX_CHARACTERS = 50, 80_000  # of a repository
PROMPT = """\
Here is a small Python repository, and an issue that someone wrote about it. Change the repository so that the issue \
is resolved. Hidden tests check your change and everything that worked before.

## Repository

{files}

## Issue

{issue}

## How to answer

For each file that you change, write a line `### PATH` and then one fenced block. The block holds one or more \
replacements in this form:

### path/of/the/file.py
```python
<<<<<<< SEARCH
lines of the file as they are now, which occur in it exactly once
=======
the lines that replace them
>>>>>>> REPLACE
```

Or the block holds the complete new file, without these marks. Copy the lines to search for exactly, with their \
indentation. Only Python's standard library is available."""
_HEADING = re.compile(r"#{2,4}[ \t]+[`*]*([^\s`*]+)[`*]*[ \t]*")
_FENCE = re.compile(r"(`{3,})[ \t]*\w*[ \t]*")
_PATH = re.compile(r"(?:[A-Za-z_]\w*/)*[A-Za-z_]\w*\.py", re.ASCII)


class ChangeError(ValueError):
    """An answer cannot be applied to a repository."""


class Block(NamedTuple):
    """A fenced block under a heading with a path."""

    path: str
    lines: Sequence[str]


def as_text(files: Mapping[str, str]) -> str:
    """Return files as headings and fenced blocks, which `files_of` reads back."""
    return "\n\n".join(f"### {path}\n{_fenced(text)}" for path, text in files.items())


def files_of(text: str) -> dict[str, str]:
    """Return the complete files of a text, by path."""
    return {block.path: _joined(block.lines) for block in blocks_of(text)}


def prompt_of(files: Mapping[str, str], issue: str) -> str:
    """Return the prompt that shows the files and the issue, and says how to answer."""
    return PROMPT.format(files=as_text(files), issue=issue.strip())


def changed(files: Mapping[str, str], answer: str) -> dict[str, str]:
    """Return the files after the changes of an answer, which are applied in its order.

    Args:
        files: Texts by path, such as "shop/cart.py".
        answer: Blocks as this module's docstring shows. Text around them is ignored.

    Raises:
        ChangeError: There is no block, a path or a replacement is not allowed, or the result is too large.
    """
    after = dict(files)
    blocks = [*blocks_of(answer)]
    if not blocks:
        raise ChangeError("no change found: write `### PATH` and a fenced block for each file")
    for path, lines in blocks:
        if not _PATH.fullmatch(path):
            raise ChangeError(f"{path[:100]}: must be the relative path of a Python module, such as shop/cart.py")
        if not any(line.rstrip() in (SEARCH, REPLACE) for line in lines):
            after[path] = _joined(lines)
        elif path not in after:
            raise ChangeError(f"{path} does not exist: a new file must be given completely")
        else:
            after[path] = _replaced(path, after[path], lines)
    if len(after) > MAX_FILES or sum(map(len, after.values())) > MAX_CHARACTERS:
        raise ChangeError(
            f"the repository has {len(after)} files of {sum(map(len, after.values())):,} characters: at most "
            f"{MAX_FILES} files of {MAX_CHARACTERS:,} characters are allowed"
        )
    return after


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the fenced blocks that stand directly under a heading with a path; blank lines may lie between."""
    path, lines = "", iter(text.split("\n"))
    for line in lines:
        if heading := _HEADING.fullmatch(line.rstrip()):
            path = heading[1]
        elif fence := _FENCE.fullmatch(line.rstrip()):
            inside = [*takewhile(lambda other: other.rstrip() != fence[1], lines)]
            if path:
                yield Block(path, inside)
            path = ""
        elif line.strip():
            path = ""


def _replaced(path: str, text: str, lines: Sequence[str]) -> str:
    """Return a file after the replacements of a block."""
    current = text.rstrip("\n").split("\n")
    for old, new in _replacements(path, lines):
        places = [at for at in range(len(current) - len(old) + 1) if current[at : at + len(old)] == old]
        if len(places) != 1:
            found = "are not in the file" if not places else f"occur {len(places)} times"
            raise ChangeError(f"{path}: the lines to search for {found}, must occur once: {old[0].strip()[:80]!r}")
        current[places[0] : places[0] + len(old)] = new
    return _joined(current)


def _replacements(path: str, lines: Sequence[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield (lines to search for, lines that replace them)."""
    rest = iter(lines)
    for line in rest:
        if not line.strip():
            continue
        parts = line.rstrip(), _until(rest, DIVIDER), _until(rest, REPLACE)
        if parts[0] != SEARCH or parts[1] is None or parts[2] is None:
            raise ChangeError(f"{path}: a replacement must consist of {SEARCH}, lines, {DIVIDER}, lines, {REPLACE}")
        if not any(map(str.strip, parts[1])):
            raise ChangeError(f"{path}: a replacement has no lines to search for: give some, or the complete file")
        yield parts[1], parts[2]


def _until(lines: Iterator[str], mark: str) -> list[str] | None:
    """Return the lines before a mark; None if it does not follow."""
    before: list[str] = []
    for line in lines:
        if line.rstrip() == mark:
            return before
        before.append(line)
    return None


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines).strip("\n") + "\n"


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"^`{3,}", text, re.MULTILINE)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}python\n{text.strip(chr(10))}\n{fence}"

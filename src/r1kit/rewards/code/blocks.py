"""Find the fenced code blocks of a response. The text is hostile: every step takes linear time and nothing is parsed.

Models bend the rules of Markdown. These forms count too: a block that is never opened or never closed, a fence at the
end of a line of prose or of code, and the tags [PYTHON], [BEGIN] and <code>.
"""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

# What models write after a fence to name the language; a version number is ignored.
FENCES = {"python": ("python", "py", "pypy"), "cpp": ("cpp", "c++", "cc", "cxx")}
_KNOWN = {mark for marks in FENCES.values() for mark in marks}
# A fence at the start of a line, after quotation marks or a list marker.
_FENCE = re.compile(
    r"(?P<lead>[ \t]*(?:>[ \t]?)*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?)(?P<fence>`{3,}|~{3,}(?!~))(?P<info>[^`]*)"
)
_LATE_FENCE = re.compile(r".*[^`\s]\s*(?P<fence>```)(?P<info>[ \t]*[\w+#.-]+)\s*")  # after prose
_ONE_LINE = re.compile(r"```(\w*)[ \t]([^`]+)```")
_MARK = re.compile(r"[\s{.]*(?:language-)?([\w+#-]*)")
_TAGGED = re.compile(r"\[(PYTHON|BEGIN)\](.*?)(?:\[/\1\]|\[DONE\]|\Z)|<code>(.*?)(?:</code>|\Z)", re.DOTALL)
_DEFINITION = re.compile(r"^(?:(?:async[ \t]+)?def[ \t]+\w+[ \t]*\(|class[ \t]+\w+[ \t]*[(:])", re.MULTILINE)
_CODE = re.compile(
    r"""(?:async[ ]+)?def[ ]+\w+[ ]*\( | class[ ]+\w+[ ]*[(:] | import[ ]+[\w.]+\s*(?:$|,|as\b|\#)
    | from[ ]+[\w.]+[ ]+import\b | @\w | \#(?:include|define|!) | (?:if|for|while|with)\b.*:\s*$ | try:
    | int[ ]+main\b | using[ ]+namespace\b 
    | [A-Za-z_][\w.]*(?:\[[^\]]*\])?(?:[ ]*,[ ]*\w+)*[ ]*(?::[ ]*[\w.\[\], ]+)?[-+*/|&]?=[^=]
    | (?:print|input|main|solve|sys\.\w+\.\w+)\(""",
    re.VERBOSE,
)
# What no statement begins with: a list marker, markup, a heading of one word, two words in a row.
_MARKUP = re.compile(r"(?:[-*+>|]|\d+[.)])\s|\*\*|`|[A-Z]\w{0,40}:\s*$")
_TWO_WORDS = re.compile(r"([^\W\d_]{1,40})(?:['’]\w{1,5})?[,:;]?\s[`*_(\"]{0,4}(\w{1,40})")
_OPERATORS = {"and", "or", "in", "is", "not", "if", "else", "for"}


class Block(NamedTuple):
    """A block and the language that its fence names: lower case, without a version; empty if none."""

    mark: str
    body: str


def find_blocks(text: str) -> list[Block]:
    """Return the blocks of a text in order, dedented."""
    blocks: list[Block] = []
    opening: re.Match[str] | None = None
    lines: list[str] = []  # of the open block, or since the last one
    all_lines = text.split("\n")
    fences = [number for number, line in enumerate(all_lines) if _FENCE.fullmatch(line)]
    for number, line in enumerate(all_lines):
        fence = _FENCE.fullmatch(line)
        if opening is None:
            fence = fence or _late(line)
            if one_line := fence is None and _ONE_LINE.fullmatch(line.strip()):
                blocks.append(Block(_mark(one_line[1]), one_line[2].strip()))
            elif fence is None:
                lines.append(line)
            elif not fence["info"].strip() and _ends_code(lines, number == fences[-1]):
                blocks.append(Block("", without_prose(lines)))
                lines = []
            else:
                opening, lines = fence, []
        elif fence and fence["fence"].startswith(opening["fence"]):
            blocks.append(_block(opening, lines))
            opening, lines = (fence if _mark(fence["info"]) in _KNOWN else None), []
        else:
            lines.append(line)
    if opening is not None:
        blocks.append(_block(opening, _unclosed(lines)))
    return blocks or [Block("python", match[2] or match[3] or "") for match in _TAGGED.finditer(text)]


def without_prose(lines: Sequence[str]) -> str:
    """Return code without the sentences before and after it; all lines if none of them looks like code."""
    start = next((i for i, line in enumerate(lines) if _CODE.match(line)), None)
    if start is None:
        return "\n".join(lines)
    return "\n".join(_without_closing_prose(lines[start:]))


def _without_closing_prose(lines: Sequence[str]) -> Sequence[str]:
    end = len(lines)
    while end > 1 and (not lines[end - 1].strip() or _is_prose(lines[end - 1])):
        end -= 1
    return lines[:end]


def _is_prose(line: str) -> bool:
    """Return whether an unindented line cannot be a statement."""
    if line[:1].isspace() or line.startswith("#"):
        return False
    if words := _TWO_WORDS.match(line):
        return not keyword.iskeyword(words[1]) and words[2] not in _OPERATORS
    return bool(_MARKUP.match(line)) or (not line[0].isascii() and "=" not in line)


def _unclosed(lines: Sequence[str]) -> Sequence[str]:
    """Return a block that no fence of its own closes: it ends at any other bare fence, or before closing prose."""
    fence = next((i for i, line in enumerate(lines) if (m := _FENCE.fullmatch(line)) and not m["info"].strip()), None)
    if fence is not None:
        return lines[:fence]
    lines = _without_closing_prose(lines)
    return [*lines[:-1], lines[-1].rstrip().removesuffix("```")] if lines else lines


def _ends_code(lines: Sequence[str], last: bool) -> bool:
    """Return whether a bare fence closes the code in the lines before it, which no fence opened."""
    return any(map(_DEFINITION.match, lines)) or (last and any(map(_CODE.match, lines)))


def _late(line: str) -> re.Match[str] | None:
    fence = _LATE_FENCE.fullmatch(line)
    return fence if fence and _mark(fence["info"]) in _KNOWN else None


def _mark(info: str) -> str:
    match = _MARK.match(info)
    return match[1].lower().rstrip("0123456789") if match else ""


def _block(opening: re.Match[str], lines: Sequence[str]) -> Block:
    """Return a block; its lines lose the quotation marks and the indentation of its fence."""
    lead = opening.groupdict().get("lead") or ""
    if ">" in lead:
        lines = [re.sub(r"^[ \t]*(?:>[ \t]?)+", "", line) for line in lines]
    shallow = re.compile(rf"[ \t]{{0,{min(len(lead), 64)}}}")
    if lead.strip(" \t") == "" and lead:
        lines = [shallow.sub("", line, count=1) if line[:1].isspace() else line for line in lines]
    return Block(_mark(opening["info"]), textwrap.dedent("\n".join(lines)))

"""Small repositories with issues: an answer changes their files, and hidden tests judge it (`rewards/code/repository`).

Every file of `assets/repositories` is a repository that passes its tests, and several issues. The replacements below an
issue make the fault that it describes; the other way round, they are its reference answer. All issues of a repository
are in one split. Level 1 names the function, level 2 describes what goes wrong, level 3 takes several changes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import r1kit
from r1kit.data.repository import DIVIDER, REPLACE, SEARCH, blocks_of, changed, files_of, prompt_of
from r1kit.types import Problem

NAME = "repositories"
VERIFIER = "repository"
LEVELS = (1, 2, 3)
FOLDER = Path(r1kit.__file__).parent / "assets" / "repositories"
HELD_OUT = ("rooms", "router", "searching")
_SECTION = re.compile(r"^## ", re.MULTILINE)
_TEST = re.compile(r"^(?=# )", re.MULTILINE)
_ISSUE = re.compile(r"Issue, level (\d)\n(.*?)(?=^### )(.*)", re.MULTILINE | re.DOTALL)
_REPLACEMENT = re.compile(f"^{SEARCH}\n(.*?)^{DIVIDER}\n(.*?)^{REPLACE}$", re.MULTILINE | re.DOTALL)


def repository_problems(split: str, levels: Sequence[int], limit: int) -> list[Problem]:
    """Return at most `limit` problems, the same on every call: the first issue of each repository, then the second."""
    names = [path.stem for path in sorted(FOLDER.glob("*.md")) if (path.stem in HELD_OUT) == (split == "held_out")]
    chosen = [[problem for problem in problems_of(name) if problem.level in levels] for name in names]
    rounds = range(max(map(len, chosen), default=0))
    return [problems[at] for at in rounds for problems in chosen if at < len(problems)][:limit]


@cache
def problems_of(name: str) -> tuple[Problem, ...]:
    """Return the problems of one repository."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    repository, tests, *issues = _SECTION.split(text)
    return tuple(_problems(name, files_of(repository), _tests(tests), issues))


def _problems(name: str, right: dict[str, str], tests: list[str], issues: Sequence[str]) -> Iterator[Problem]:
    for section in issues:
        match = _ISSUE.fullmatch(section)
        assert match is not None, f"{name}: an issue has no level, no text or no change"
        level, issue, fault = int(match[1]), match[2].strip(), match[3].strip()
        files = changed(right, fault)
        yield Problem(
            id=hashlib.sha256(f"{name}\0{issue}".encode()).hexdigest()[:16],
            question=f"{name}: {issue}",
            answer=_REPLACEMENT.sub(rf"{SEARCH}\n\2{DIVIDER}\n\1{REPLACE}", fault),
            verifier=VERIFIER,
            level=level,
            family=name,
            extra={"files": files, "tests": tests},
            prompt=prompt_of(files, issue),
        )


def _tests(section: str) -> list[str]:
    """Return the tests: the imports, and what stands under each comment."""
    [block] = blocks_of(f"### tests.py\n{section.partition(chr(10))[2]}")
    return _TEST.split("\n".join(block.lines))

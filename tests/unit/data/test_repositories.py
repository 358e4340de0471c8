"""Repositories as text: files are read back, answers are applied strictly, and every bundled issue makes its fault."""

from __future__ import annotations

from collections import Counter

import pytest

from r1kit.data.repository import ChangeError, as_text, changed, files_of, prompt_of
from r1kit.data.worlds import world_problems

FILES = {
    "shop/cart.py": "def total(prices):\n    return 0\n\n\ndef count(prices):\n    return 0\n",
    "main.py": "x = 1\n",
}
EDIT = """\
First the total:

### shop/cart.py

```python
<<<<<<< SEARCH
def total(prices):
    return 0
=======
def total(prices):
    return sum(prices)
>>>>>>> REPLACE

<<<<<<< SEARCH
def count(prices):
    return 0
=======
def count(prices):
    return len(prices)
>>>>>>> REPLACE
```
That is all."""


def block(path: str, text: str) -> str:
    return f"### {path}\n```python\n{text}\n```"


def replacement(old: str, new: str) -> str:
    return f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"


def test_files_are_read_back() -> None:
    files = {**FILES, "text.py": 'TEXT = """\n```\n### other.py\n```\n"""\n'}
    assert files_of(as_text(files)) == files


def test_replacements_and_complete_files_are_applied_in_order() -> None:
    after = changed(FILES, EDIT + "\n\n" + block("`new.py`", "y = 2") + "\n" + block("main.py", "x = 3\n\n"))
    assert after == {
        "shop/cart.py": "def total(prices):\n    return sum(prices)\n\n\ndef count(prices):\n    return len(prices)\n",
        "main.py": "x = 3\n",
        "new.py": "y = 2\n",
    }
    assert FILES["main.py"] == "x = 1\n", "the given files stay"
    twice = block("main.py", replacement("x = 1", "x = 2")) + "\n" + block("main.py", replacement("x = 2", ""))
    assert changed(FILES, twice)["main.py"] == "\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("I would change the cart.", "no change found: write `### PATH`"),
        ("```python\nx = 2\n```", "no change found"),
        ("### main.py\nnow it is right:\n```python\nx = 2\n```", "no change found"),
        (block("../main.py", "x = 2"), "no change found|must be the relative path"),
        (block("/etc/main.py", "x"), "must be the relative path of a Python module"),
        (block("a/../main.py", "x"), "must be the relative path"),
        (block("notes.txt", "x"), "must be the relative path"),
        (block("other.py", replacement("x = 1", "x = 2")), "other.py does not exist"),
        (block("main.py", replacement("x = 5", "x = 2")), "are not in the file, must occur once: 'x = 5'"),
        (block("main.py", replacement("x = 1 ", "x = 2")), "are not in the file"),
        (block("shop/cart.py", replacement("    return 0", "    return 1")), "occur 2 times"),
        (block("main.py", replacement("", "x = 2")), "no lines to search for"),
        (block("main.py", "<<<<<<< SEARCH\nx = 1\n=======\nx = 2"), "a replacement must consist of"),
        (block("main.py", "x = 7\n" + replacement("x = 1", "x = 2")), "a replacement must consist of"),
        (block("main.py", "#" * 80_000), "at most 50 files of 80,000 characters"),
        ("\n".join(block(f"f{number}.py", "") for number in range(50)), "has 52 files"),
    ],
)
def test_other_answers_are_refused_with_the_reason(answer: str, message: str) -> None:
    with pytest.raises(ChangeError, match=message):
        changed(FILES, answer)


def test_the_prompt_shows_the_files_and_the_form() -> None:
    prompt = prompt_of(FILES, "Totals are 0.\n")
    assert as_text(FILES) in prompt and "## Issue\n\nTotals are 0.\n\n" in prompt
    assert "<<<<<<< SEARCH\n" in prompt and ">>>>>>> REPLACE\n" in prompt


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_reference_answers_undo_the_faults(split: str) -> None:
    problems = world_problems("repositories", split)
    for problem in problems:
        files = problem.extra["files"]
        after = changed(files, problem.answer)
        assert after != files and after.keys() == files.keys()
        assert problem.prompt.count(problem.question.partition(": ")[2]) == 1
        assert not any("assert" in text for text in files.values()), "the tests are hidden"
    repaired = {(problem.family, str(changed(problem.extra["files"], problem.answer))) for problem in problems}
    assert len(repaired) == len({problem.family for problem in problems}), "all issues lead to the same repository"


def test_a_few_dozen_issues_of_all_levels_and_whole_repositories_held_out() -> None:
    train, held_out = (world_problems("repositories", split) for split in ("train", "held_out"))
    assert len(train) >= 36 and len(held_out) >= 12
    assert not {problem.family for problem in train} & {problem.family for problem in held_out}
    assert min(Counter(problem.level for problem in train).values()) >= 8
    assert all(2 <= len(problem.extra["files"]) <= 5 for problem in train + held_out)
    assert {problem.level for problem in world_problems("repositories", "train", min_level=3)} == {3}
    assert [problem.id for problem in world_problems("repositories", limit=5)] == [problem.id for problem in train[:5]]

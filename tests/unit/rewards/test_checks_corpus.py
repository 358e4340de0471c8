"""Accepted forms and near misses of choices, expressions, puzzles, texts, JSON, instructions and formats."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from paths import ROOT

from r1kit.rewards.grade_file import grade_row

CORPUS = ROOT / "tests" / "fixtures" / "rewards" / "corpus"
FILES = [CORPUS / f"{name}.jsonl" for name in ("choice", "countdown", "logic", "formats")]
ROWS = [json.loads(line) for path in FILES for line in path.read_text(encoding="utf-8").splitlines()]
GROUPS = sorted({row["group"] for row in ROWS})


@pytest.mark.parametrize("group", GROUPS)
def test_corpus_verdicts(group: str) -> None:
    wrong = []
    for row in (row for row in ROWS if row["group"] == group):
        verdict = grade_row({key: value for key, value in row.items() if key not in ("correct", "group")})
        if (verdict.status == "right") != row["correct"]:
            wrong.append((row["response"], verdict.status, verdict.reason))
    assert wrong == []


def test_corpus_has_both_verdicts_of_every_group() -> None:
    counts = Counter((row["group"], row["correct"]) for row in ROWS)
    assert all(counts[group, True] and counts[group, False] for group in GROUPS)
    assert sum(not row["correct"] for row in ROWS) >= 700

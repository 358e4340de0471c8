"""Thoughts in one language and near misses, by kind of fault."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from paths import ROOT

from r1kit.rewards.grade_file import grade_row

CORPUS = ROOT / "tests" / "fixtures" / "rewards" / "corpus" / "language.jsonl"
ROWS = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
GROUPS = sorted({row["group"] for row in ROWS})


@pytest.mark.parametrize("group", GROUPS)
def test_corpus_verdicts(group):
    wrong = []
    for row in (row for row in ROWS if row["group"] == group):
        verdict = grade_row({key: row[key] for key in ("kind", "gold", "response")})
        if (verdict.status == "right") != row["correct"]:
            wrong.append((row["gold"], row["response"], verdict.reason))
    assert wrong == []


def test_corpus_has_both_verdicts_of_every_group():
    counts = Counter((row["group"], row["correct"]) for row in ROWS)
    assert all(counts[group, True] and counts[group, False] for group in GROUPS)
    assert sum(not row["correct"] for row in ROWS) >= 60

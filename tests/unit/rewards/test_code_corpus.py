"""Accepted forms and near misses of programs and of predicted values, by kind of fault."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from paths import ROOT

from r1kit import integers
from r1kit.rewards import services
from r1kit.rewards.grade_file import grade_row

CORPUS = ROOT / "tests" / "fixtures" / "rewards" / "corpus"
ROWS = [
    json.loads(line, parse_int=integers.read)
    for name in ("code", "cruxeval")
    for line in (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
]
GROUPS = sorted({row["group"] for row in ROWS})


@pytest.mark.parametrize("group", GROUPS)
def test_corpus_verdicts(group, sandbox, monkeypatch):
    monkeypatch.setattr(services, "sandbox", lambda: sandbox)
    wrong = []
    for row in (row for row in ROWS if row["group"] == group):
        verdict = grade_row({key: value for key, value in row.items() if key not in ("group", "correct")})
        if verdict.masked or (verdict.status == "right") != row["correct"]:
            wrong.append((row["response"], verdict.status, verdict.reason[:200]))
    assert wrong == []


def test_corpus_has_both_verdicts_of_every_group():
    counts = Counter((row["group"], row["correct"]) for row in ROWS)
    assert all(counts[group, True] and counts[group, False] for group in GROUPS)
    assert sum(not row["correct"] for row in ROWS) >= 200

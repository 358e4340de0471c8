"""Choosing, mixing and counting the rows of curated data."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.evals.curation import card_text, choose, count, make_row, mix
from r1kit.types import Problem

ROWS = st.lists(
    st.fixed_dictionaries(
        {"prompt_id": st.sampled_from("ab"), "response": st.sampled_from(["x", "X ", "y", "z"]), "domain": st.just("d")}
        | {"sample": st.integers(0, 99), "reason": st.sampled_from(["", "wrong"]), "tokens": st.just(3)}
        | {"samples": st.just(1), "length": st.just(2)}
    ).map(lambda row: {**row, "prompt": row["prompt_id"]}),
    max_size=12,
)


@given(ROWS, st.integers(1, 3), st.integers(0, 5))
def test_choose_keeps_distinct_rows_of_every_prompt(rows: list[dict], keep: int, seed: int) -> None:
    chosen = choose(rows, keep, seed)
    assert [{**row, "reason": ""} for row in chosen] == [{**row, "reason": ""} for row in rows], "only reasons change"
    kept = [row for row in chosen if not row["reason"]]
    assert len({(row["prompt"], row["response"].strip().lower()) for row in kept}) == len(kept)
    assert all(number <= keep for number in Counter(row["prompt_id"] for row in kept).values())
    for prompt_id in {row["prompt_id"] for row in rows if not row["reason"]}:
        assert any(row["prompt_id"] == prompt_id for row in kept), "a prompt with a fit row keeps one"
    assert choose(rows, keep, seed) == chosen


@given(ROWS, st.integers(1, 3), st.integers(0, 5))
def test_every_row_is_kept_or_has_a_reason(rows: list[dict], keep: int, seed: int) -> None:
    counts = count(choose(rows, keep, seed), [])
    assert counts["kept"] + sum(counts["rejected"].values()) == len(rows) == counts["sampled"]


def test_other_data_is_mixed_in_up_to_its_share() -> None:
    others = [{"reason": "contaminated" if n % 10 == 0 else "", "domain": "writing", "n": n} for n in range(1000)]
    drawn = mix(others, 600, 0.25, seed=1)
    assert len(drawn) == 200 and all(row["n"] % 10 for row in drawn)
    assert [row["n"] for row in drawn] == sorted(row["n"] for row in drawn) and drawn != mix(others, 600, 0.25, seed=2)
    assert len(mix(others, 6000, 0.25, seed=1)) == 900, "all that are fit"


def test_row_has_the_fields_of_its_problem_and_its_review() -> None:
    problem = Problem("p", "q?", "13", level=2, language="zh")
    row = make_row(problem, {"samples": 1, "tokens": 9, "response": "r", "reason": ""}, length=7)
    expected = {"prompt_id": "p", "prompt": "q?", "domain": "other", "language": "zh", "level": 2}
    assert row == expected | {"samples": 1, "tokens": 9, "response": "r", "reason": "", "length": 7}


def test_card_counts_rows_by_reason_and_domain() -> None:
    row = {"prompt_id": "p", "domain": "logic", "samples": 1, "tokens": 9, "length": 7, "reason": ""}
    counts = count([row, {**row, "reason": "wrong"}, {**row, "reason": "wrong"}], [{"domain": "writing"}])
    assert counts["rejected"] == {"wrong": 2} and counts["records"] == 2 and counts["sampled_tokens"] == 27
    assert counts["by_domain"]["logic"]["mean_tokens"] == 7 and counts["mixed_in_by_domain"] == {"writing": 1}
    made = {"stage": "rs", "makes": "records", "model": "dev2", "samples": 3, "temperature": 1.0, "seed": 5}
    made |= {"rewriter": None, "judge": None, "data_share": 0.25, "benchmarks": [], "ngram": 10}
    text = card_text({"made": made, **counts})
    assert "| logic | 1 | 3 | 1 | 7.0 | 2 |" in text and "| writing | 1 |" in text
    assert "(50%; asked for: 25%)" in text


@pytest.mark.parametrize("domain", ["logic", "writing"])
def test_card_without_kept_rows_has_no_mean_length(domain: str) -> None:
    row = {"prompt_id": "p", "domain": domain, "samples": 1, "tokens": 9, "length": 7, "reason": "wrong"}
    assert count([row], [])["by_domain"][domain]["mean_tokens"] is None

"""Benchmark metrics: cases by hand, exact enumeration, LightEval's vectors, invariants, coverage of intervals."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from public_data import fixture_and_shared

from r1kit.evals.metrics import (
    ProblemResult,
    accuracy_by_length,
    clustered_standard_error,
    cons_at_k,
    first_vote,
    g_pass_at_k,
    mean_ci95,
    mean_g_pass,
    pass_at_k,
    standard_error,
    summarize,
    vote_curve,
    vote_sizes,
)

VECTORS = ("pass_at_k", "pass_at_k_math", "avg_at_k", "avg_at_k_math", "maj_at_k", "g_pass_at_k")


def problem(answers, gold="1", level=1, family="arithmetic", language="en", **changes) -> ProblemResult:
    n = len(answers)
    fields = dict(correct=tuple(a == gold for a in answers), answers=tuple(answers), well_formed=(True,) * n)
    fields |= dict(lengths=(10,) * n, truncated=(False,) * n)
    about = dict(problem_id="id", level=level, family=family, language=language)
    return ProblemResult(**{**about, **fields, **changes})


samples = st.lists(st.tuples(st.sampled_from(["1", "2", "3", "4", None]), st.booleans()), min_size=1, max_size=8)


def test_pass_at_k_by_hand():
    assert pass_at_k(4, 1, 2) == pytest.approx(3 / 6)  # the right one is in 3 of the 6 pairs
    assert pass_at_k(16, 0, 16) == 0 and pass_at_k(16, 1, 16) == 1
    assert pass_at_k(200, 3, 1) == pytest.approx(3 / 200)
    assert pass_at_k(10_000, 1, 100) == pytest.approx(0.01)  # no overflow, no cancellation


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 1, 5), (4, 1, 0)])
def test_pass_at_k_refuses_impossible_counts(n, c, k):
    with pytest.raises(ValueError, match="k <= samples"):
        pass_at_k(n, c, k)


@given(st.integers(1, 20), st.data())
def test_pass_at_k_grows_with_k_and_c(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    assert c / n - 1e-12 <= pass_at_k(n, c, k) <= 1
    if k < n:
        assert pass_at_k(n, c, k) <= pass_at_k(n, c, k + 1) + 1e-12
    if c < n:
        assert pass_at_k(n, c, k) <= pass_at_k(n, c + 1, k) + 1e-12


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_mean_over_all_subsets(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    assert pass_at_k(n, c, k) == pytest.approx(fmean(min(s) < c for s in combinations(range(n), k)))


def test_majority_vote_by_hand():
    def vote(answers, right="1"):
        return cons_at_k(answers, [a == right for a in answers], len(answers))

    assert vote(["1", "1", "2"]) == 1
    assert vote(["1", "2", "2"]) == 0
    assert vote(["1", "2"]) == 0.5  # a tie
    assert vote(["1", "2", "3", "3", "1"]) == 0.5  # a tie of the two most frequent
    assert vote(["1", None, None, None]) == 1  # no answer is no vote
    assert vote([None, None]) == 0
    assert cons_at_k(["1/2", "0.5", "7"], [True, True, False], 3) == pytest.approx(2 / 3)  # two right spellings
    assert cons_at_k(["1", "1"], [True, False], 2) == 0.5  # graded both ways


@given(samples, st.data())
def test_consensus_is_the_mean_over_all_subsets(pairs, data):
    right = dict(pairs)  # equal answers get equal grades
    answers = [a for a, _ in pairs]
    correct = [right[a] for a in answers]
    k = data.draw(st.integers(1, len(pairs)))
    by_hand = [
        cons_at_k([answers[i] for i in s], [correct[i] for i in s], k) for s in combinations(range(len(pairs)), k)
    ]
    assert cons_at_k(answers, correct, k) == pytest.approx(fmean(by_hand))
    assert cons_at_k(answers, correct, k) <= pass_at_k(len(pairs), sum(correct), k) + 1e-12
    shuffled = list(zip(answers, correct, strict=True))
    random.Random(0).shuffle(shuffled)
    assert cons_at_k([a for a, _ in shuffled], [c for _, c in shuffled], k) == cons_at_k(answers, correct, k)


def test_consensus_of_64_samples_is_exact():
    answers = [str(i % 20) for i in range(64)]
    value = cons_at_k(answers, [a == "3" for a in answers], 16)
    draws = random.Random(1)
    drawn = [draws.sample(answers, 16) for _ in range(4000)]
    estimate = fmean(cons_at_k(d, [a == "3" for a in d], 16) for d in drawn)
    assert value == pytest.approx(estimate, abs=0.01)


@pytest.mark.parametrize("k", [0, 3])
def test_consensus_refuses_impossible_k(k):
    with pytest.raises(ValueError, match="k <= samples"):
        cons_at_k(["1", "2"], [True, False], k)


@fixture_and_shared("evals", *(f"vectors/metrics/{name}.json" for name in VECTORS))
def test_vectors_in_lightevals_format(path: Path):
    name, checked = path.stem, 0
    for case in json.loads(path.read_text(encoding="utf-8"))["test_cases"]:
        doc, texts, params = case["doc"], case["model_response"]["text"], case["metric_params"]
        gold = doc["gold_index"] if isinstance(doc["gold_index"], int) else doc["gold_index"][0]
        correct = [t == doc["choices"][gold] for t in texts]
        k, expected = params.get("k", 1), case["expected_output"]
        if not isinstance(k, int) or params.get("n", len(texts)) > len(texts) or len(texts) < k:
            continue
        if name.startswith("avg"):
            ours = mean_ci95([float(c) for c in correct[:k]])[0]
        elif name == "maj_at_k":
            if case["name"].endswith("No Majority"):
                continue  # LightEval takes the first of tied answers; we average over them
            ours = cons_at_k(texts[:k], correct[:k], k)
        else:
            if name == "g_pass_at_k" and f"g-pass@{k}_0.0" not in expected:
                continue
            n = len(texts) if name == "g_pass_at_k" else params["n"]
            ours = pass_at_k(n, sum(correct[:n]), k)
        wanted = expected[f"g-pass@{k}_0.0"] if name == "g_pass_at_k" else next(iter(expected.values()))
        assert ours == pytest.approx(wanted, abs=case["tolerance"]), case["name"]
        checked += 1
    assert checked >= 3


def test_g_pass_counts_the_subsets_with_enough_right_samples():
    right = [True] * 5 + [False] * 3
    for tau in (0, 0.25, 0.5, 0.6, 1):
        subsets = list(combinations(right, 4))
        wanted = fmean(sum(subset) >= max(1, tau * 4) for subset in subsets)
        assert g_pass_at_k(8, 5, 4, tau) == pytest.approx(wanted)
    assert g_pass_at_k(8, 5, 4, 0) == pytest.approx(pass_at_k(8, 5, 4))
    assert g_pass_at_k(10, 7, 10, 0.7) == 1  # 0.7 * 10 is 7, not a little more
    assert mean_g_pass(8, 5, 4) == pytest.approx((g_pass_at_k(8, 5, 4, 0.75) + g_pass_at_k(8, 5, 4, 1)) / 2)
    assert mean_g_pass(16, 16, 16) == 1 and mean_g_pass(16, 0, 16) == 0
    with pytest.raises(ValueError, match="tau 2"):
        g_pass_at_k(8, 5, 4, 2)
    with pytest.raises(ValueError, match="9 of 8"):
        mean_g_pass(8, 9, 4)


def test_first_vote_and_the_vote_curve_differ_in_ties():
    answers, right = ["2", "1", None], [False, True, False]
    assert first_vote(answers, right) is False and first_vote(answers[::-1], right[::-1]) is True
    assert first_vote([None], [False]) is False
    curve = vote_curve([problem(["2", "1", None, "1"]), problem(["1"] * 4)])
    assert list(curve) == vote_sizes(4) == [1, 2, 4] and vote_sizes(6) == [1, 2, 4, 6]
    assert curve[1][0] == pytest.approx(0.75) and curve[4] == pytest.approx((1, 0))
    assert vote_curve([]) == {}


def test_clusters_widen_the_standard_error():
    values = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert clustered_standard_error(values, range(8)) == pytest.approx(standard_error(values))  # clusters of one
    pairs = clustered_standard_error(values, [0, 0, 1, 1, 2, 2, 3, 3])
    assert pairs == pytest.approx(standard_error([1.0, 0.0, 1.0, 0.0]))  # as of four problems
    with pytest.raises(ValueError, match="1 clusters"):
        clustered_standard_error(values, [0] * 8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_interval_contains_the_mean_and_has_a_width(means):
    mean, low, high = mean_ci95(means)
    assert 0 <= low <= mean <= high <= 1 and high > low
    flipped = mean_ci95([1 - x for x in means])
    assert (flipped[1], flipped[2]) == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))


def test_interval_by_hand():
    mean, low, high = mean_ci95([1.0] * 30)
    assert mean == high == 1 and 0.86 < low < 0.9  # 30 of 30: Wilson's lower end is 0.886
    mean, low, high = mean_ci95([1.0] * 50 + [0.0] * 50)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))  # Agresti-Coull
    with pytest.raises(ValueError, match="one or more"):
        mean_ci95([])
    with pytest.raises(ValueError, match="values from 0 to 1"):
        mean_ci95([1.5])


@pytest.mark.parametrize("problems", [5, 10, 30, 100])
@pytest.mark.parametrize(("a", "b"), [(1, 1), (0.1, 0.9), (0.05, 0.2), (5, 5), (0.3, 5), (2, 0.1)])
def test_interval_covers_the_true_mean(problems, a, b):
    """About 95 % of the intervals contain it, for beta-distributed difficulties and 16 samples per problem."""
    rng = random.Random(f"{a} {b} {problems}")

    def one_benchmark():
        chances = (rng.betavariate(a, b) for _ in range(problems))
        return mean_ci95([sum(rng.random() < p for _ in range(16)) / 16 for p in chances])

    covered = [low <= a / (a + b) <= high for _, low, high in (one_benchmark() for _ in range(300))]
    assert fmean(covered) > 0.91


def test_summary_by_hand():
    results = [
        problem(["1", "1", "2", None], level=1),  # 2 of 4, vote right
        problem(["2", "2", "1", "3"], level=2, family="countdown", language="zh"),  # 1 of 4, vote wrong
        problem(["1"] * 4, level=10, truncated=(True,) * 4, lengths=(100,) * 4, well_formed=(False,) * 4),
        problem(["2"] * 4, level=0, family="", language=""),
    ]
    summary = summarize(results, 4)
    assert summary["pass@1"] == pytest.approx(7 / 16)
    assert summary["cons@4"] == 0.5 and summary["pass@4"] == 0.75
    assert summary["ci95"][0] < summary["pass@1"] < summary["ci95"][1]
    assert (summary["format_rate"], summary["truncated"], summary["mean_tokens"]) == (0.75, 0.25, 32.5)
    assert (summary["problems"], summary["samples"]) == (4, 4)
    assert list(summary["by_level"]) == ["1", "2", "10"]  # sorted as numbers; level 0 is left out
    assert list(summary["by_family"]) == ["arithmetic", "countdown"] and list(summary["by_language"]) == ["en", "zh"]
    assert summary["by_level"]["2"]["pass@1"] == 0.25 and summary["by_level"]["2"]["cons@4"] == 0
    flat = set(summary) - {"by_level", "by_family", "by_language", "by_length", "vote_curve"}
    assert set(summary["by_family"]["countdown"]) == flat
    assert json.loads(json.dumps(summary)) == summary
    short, long = summary["by_length"]
    assert (short["tokens"], short["answers"], short["accuracy"]) == ([10, 10], 12, 0.25)
    assert (long["tokens"], long["answers"], long["accuracy"], long["standard_error"]) == ([100, 100], 4, 1, None)
    curve = {point["voters"]: point["accuracy"] for point in summary["vote_curve"]}
    pairs_won = (4 / 6 + 1.5 / 6 + 1 + 0) / 4  # by problem
    assert curve == pytest.approx({1: summary["pass@1"], 2: pairs_won, 4: summary["cons@4"]})


def test_problems_without_extracted_answers_have_no_majority():
    scored = [problem([None] * 4, correct=(True, True, False, True), extracts=False) for _ in range(3)]
    summary = summarize(scored, 4)
    assert summary["pass@1"] == 0.75 and summary["pass@4"] == 1 and summary["vote_curve"] == []
    assert not any(
        "cons" in key for table in (summary, summary["intervals"], summary["by_level"]["1"]) for key in table
    )
    mixed = summarize([*scored, problem(["1", "1", "1", "2"])], 4)
    assert mixed["cons@4"] == 1 and mixed["vote_curve"][0]["accuracy"] == 0.75, "of the one problem that can vote"
    assert summarize([problem([None] * 4)], 4)["cons@4"] == 0, "an answer that was not found is a wrong one"


def test_answers_are_grouped_by_length_in_equal_shares():
    results = [problem(["1", "2"] * 4, lengths=tuple(range(i, 64, 8)), problem_id=str(i)) for i in range(8)]
    groups = accuracy_by_length(results)
    assert [group["accuracy"] for group in groups] == [1, 0] * 4
    assert [group["answers"] for group in groups] == [8] * 8
    assert [group["tokens"] for group in groups] == [[i, i + 7] for i in range(0, 64, 8)]


def test_no_mean_includes_ungraded_samples():
    results = [problem(["1", "2", "2"], ungraded=1), problem(["1"] * 4), problem([], ungraded=4, level=2)]
    summary = summarize(results, 4)
    assert summary["pass@1"] == pytest.approx((1 / 3 + 1) / 2) and summary["ungraded"] == 5
    assert (summary["cons@4"], summary["pass@4"], summary["format_rate"]) == (0.5, 1, 1)
    assert (summary["problems"], summary["samples"]) == (3, 4) and list(summary["by_level"]) == ["1"]
    assert "ungraded" in summarize([problem(["1"])], 1)
    with pytest.raises(ValueError, match="could be graded"):
        summarize(results[2:], 4)


@given(st.lists(st.lists(st.sampled_from(["1", "2", None]), min_size=4, max_size=4), min_size=1, max_size=6))
def test_summary_invariants(answers):
    results = [problem(a, level=1 + i % 3) for i, a in enumerate(answers)]
    summary = summarize(results, 4)
    assert summary["pass@1"] <= summary["pass@4"] + 1e-12 and summary["cons@4"] <= summary["pass@4"] + 1e-12
    levels = summary["by_level"].values()
    assert sum(g["problems"] for g in levels) == len(results)
    weighted = sum(g["pass@1"] * g["problems"] for g in levels) / len(results)
    assert weighted == pytest.approx(summary["pass@1"])


def test_summary_refuses_ragged_or_empty_input():
    with pytest.raises(ValueError, match="empty"):
        summarize([], 1)
    with pytest.raises(ValueError, match="must be one number"):
        summarize([problem(["1"]), problem(["1", "2"])], 1)
    with pytest.raises(ValueError, match="at least 5"):
        summarize([problem(["1", "2"])], 5)
    with pytest.raises(ValueError, match="one entry per sample"):
        problem(["1", "2"], lengths=(3,))

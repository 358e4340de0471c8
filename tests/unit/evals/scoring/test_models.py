"""Statistical models: assignment, Bradley-Terry, length control, ratings of Codeforces."""

from __future__ import annotations

import json
import random
from itertools import permutations
from math import exp, log10
from pathlib import Path

import numpy as np
import pytest

from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.evals.scoring import bradley_terry
from r1kit.evals.scoring.alpaca_eval import C, Gamed, length_controlled, win_rate
from r1kit.evals.scoring.assignment import best_assignment
from r1kit.evals.scoring.codeforces import Contest, percentile_of
from r1kit.evals.scoring.registry import score_files


def test_assignment_is_the_best_of_all_permutations() -> None:
    generator = random.Random(0)
    for rows in range(1, 6):
        for columns in range(rows, 6):
            table = [[generator.random() for _ in range(columns)] for _ in range(rows)]
            best = max(sum(table[i][j] for i, j in enumerate(p)) for p in permutations(range(columns), rows))
            assert best_assignment(table) == pytest.approx(best)
            assert best_assignment(list(zip(*table, strict=True))) == pytest.approx(best)
    assert best_assignment([]) == best_assignment([[]]) == 0


def test_rating_against_one_baseline_is_the_share_of_battles_won() -> None:
    ratings = bradley_terry.fit({("m", "base", 1.0): 30, ("m", "base", 0.5): 20, ("m", "base", 0.0): 50}, "base")
    assert ratings.win_rate("m") == pytest.approx(40) and ratings.elo("base") == 1000
    assert ratings.elo("m") == pytest.approx(1000 + 400 * log10(0.4 / 0.6))


def test_ratings_of_several_models_recover_those_that_made_the_battles() -> None:
    true = {"base": 1000.0, "a": 1150.0, "b": 900.0, "c": 1040.0}
    battles = {}
    for one, other in permutations(true, 2):
        chance = 1 / (1 + 10 ** ((true[other] - true[one]) / 400))
        battles |= {(one, other, 1.0): 1000 * chance, (one, other, 0.0): 1000 * (1 - chance)}
    ratings = bradley_terry.fit(battles, "base")
    assert {name: ratings.elo(name) for name in true} == pytest.approx(true, abs=1e-3)


def test_undefeated_models_get_half_a_win_each_way_and_unconnected_ones_are_refused() -> None:
    assert bradley_terry.fit({("m", "base", 1.0): 9}, "base").win_rate("m") == pytest.approx(95)
    assert bradley_terry.undefeated({("m", "base", 1.0): 9, ("k", "base", 0.5): 1}) == ["m"]
    with pytest.raises(UserError, match="no battles connect x, y with base"):
        bradley_terry.fit({("m", "base", 1.0): 1, ("x", "y", 0.5): 1}, "base")


def test_bootstrap_is_reproducible_and_as_wide_as_the_binomial() -> None:
    battles = {("m", "base", 1.0): 400, ("m", "base", 0.0): 600}
    rates = [[draw.win_rate("m") for draw in bradley_terry.bootstrap(battles, "base", 400, seed=1)] for _ in range(2)]
    assert rates[0] == rates[1] and np.std(rates[0]) == pytest.approx(100 * (0.24 / 1000) ** 0.5, rel=0.15)


def test_style_control_removes_what_length_explains(tmp_path: Path) -> None:
    """The longer answer wins with odds 3 to 1, whoever wrote it; the model is longer in three of four battles."""
    generator = random.Random(0)
    rows = []
    for number in range(3000):
        is_longer = number % 4 != 0
        short, long = ({"token_len": n, "header_count": 0, "list_count": 0, "bold_count": 0} for n in (100, 200))
        won = float(generator.random() < (0.75 if is_longer else 0.25))
        style = {"model": long if is_longer else short, "baseline": short if is_longer else long}
        rows.append(json.dumps({"model": "m", "baseline": "base", "scores": [won], "style": style}))
    (tmp_path / "b.jsonl").write_text("\n".join(rows))
    model = score_files("arena_hard", [tmp_path / "b.jsonl"])["metrics"]["models"]["m"]
    assert model["score"] > 60 and model["score_at_equal_style"] == pytest.approx(50, abs=4)


GAMED = Gamed(np.array([0.9, -0.9] * 50), np.zeros(100), -20.0, 0.0)


def test_win_rates() -> None:
    rates = win_rate([1, 2, 1.5, 0, float("nan"), 1.2])
    assert rates["win_rate"] == pytest.approx(100 * (0 + 1 + 0.5 + 0.5 + 0.2) / 5)
    assert rates["discrete_win_rate"] == pytest.approx(100 * (1 + 2 / 2) / 5)
    with pytest.raises(DataError, match="no preference"):
        win_rate([float("nan")])


def lc_win_rate(*given) -> float:
    return length_controlled(*given)["lc_win_rate"]


def test_preferences_that_the_judge_did_not_give_are_left_out(tmp_path: Path) -> None:
    model = {"preference": [1.2, None, 1.9, 1.6], "len_2": [900, 10, 700, 600]}
    gamed = {"tanh_std_delta_len": [0.9, -0.9, 0.5, 0.1], "sum_tanh_times_y": 0.2, "sum_difficulty_times_y": 0.0}
    row = {"instruction_difficulty": [0.1, -0.2, 0.3, 0], "len_1": [800] * 4, "gamed_rows": gamed}
    (tmp_path / "a.json").write_text(json.dumps({**row, "models": {"m": model}}))
    found = score_files("alpaca_eval", [tmp_path / "a.json"])["metrics"]["models"]["m"]
    assert found["win_rate"] == pytest.approx(100 * (0.2 + 0.9 + 0.6) / 3) and 0 < found["lc_win_rate"] < 100
    (tmp_path / "a.json").write_text(json.dumps({**row, "models": {"m": {**model, "preference": ["x"] * 4}}}))
    with pytest.raises(DataError, match=r'models\.m: preference contains "x": must be a list of numbers'):
        score_files("alpaca_eval", [tmp_path / "a.json"])


def test_length_control_solves_its_equations_and_lowers_long_winded_models() -> None:
    generator = np.random.default_rng(0)
    lengths, difficulty = generator.integers(500, 3000, 400), generator.normal(size=400)
    longer = (lengths - 1500) / 800
    labels = 1 / (1 + np.exp(-(0.3 + longer + 0.5 * difficulty)))
    rate = lc_win_rate(1 + labels, [1500] * 400, lengths, difficulty, GAMED)
    at_equal_length = 100 * np.mean(1 / (1 + np.exp(-(0.3 + 0.5 * difficulty))))
    assert rate == pytest.approx(at_equal_length, abs=3)
    assert lc_win_rate([1.5] * 400, [1500] * 400, lengths, [0.0] * 400, GAMED) == pytest.approx(50, abs=0.5)
    never = lc_win_rate([1.0] * 400, [1500] * 400, [1500] * 400, [0.0] * 400, GAMED)
    assert 0 < never < 1  # the penalty keeps the weight finite
    weight = np.log(never / (100 - never))
    assert 400 / (1 + exp(-weight)) == pytest.approx(1 / C, rel=1e-3)  # the score equation of the model's weight


CONTEST = Contest(
    "1", {"A": 500.0, "B": 1000.0}, [(points, 0.0) for points in range(0, 1500, 3)], np.linspace(800, 2000, 500)
)


def test_codeforces_rating_is_the_largest_that_explains_the_rank() -> None:
    rating = CONTEST.rating({"A": ["WA", "AC"], "B": ["WA"]})  # 450 points
    rank = sum(points >= 450 for points in range(0, 1500, 3))

    def expected(r: int) -> float:
        return float(1 + (1 / (1 + 10 ** ((r - CONTEST.old_ratings) / 400))).sum())

    assert expected(rating) >= rank > expected(rating + 1)
    assert CONTEST.rating({}) == CONTEST.rating({"A": ["WA"] * 8 + ["AC"]}) == 0  # the ninth attempt does not count
    assert CONTEST.rating({"A": ["AC"], "B": ["AC"]}) == 2099  # ahead of everybody


def test_percentiles_follow_the_papers_pairs() -> None:
    assert percentile_of(2029) == 96.3 and percentile_of(1444) == 80.4
    assert percentile_of((717 + 759) / 2) == pytest.approx((20.3 + 23.6) / 2)
    assert percentile_of(0) == 20.3 and percentile_of(3000) == 96.6


def test_codeforces_reads_a_folder_with_standings_and_verdicts(tmp_path: Path) -> None:
    rows = [{"points": p, "penalty": 0, "old_rating": 800 + p} for p in range(0, 1500, 5)]
    problems = [{"index": "A", "points": 500}, {"index": "B", "points": 1000}]
    contests = [{"contest_id": c, "problems": problems, "rows": rows} for c in (1, 2)]
    small = {"contest_id": 3, "problems": problems, "rows": rows[:50]}
    (tmp_path / "contests.jsonl").write_text("\n".join(map(json.dumps, [*contests, small])))
    verdicts = {"1A": ["AC"] * 4, "1B": ["WA", "WA", "WA", "AC"], "2A": ["AC"] * 4, "3A": ["AC"]}
    (tmp_path / "verdicts.json").write_text(json.dumps({"model": "m", "verdicts": verdicts}))
    found = score_files("codeforces", [tmp_path])
    metrics = found["metrics"]
    assert (
        found["n"] == 3 and metrics["skipped_contests"] == ["3"] and metrics["contests"]["1"] > metrics["contests"]["2"]
    )
    assert metrics["rating"] == pytest.approx(sum(metrics["contests"].values()) / 2)
    assert metrics["percentile"] == percentile_of(metrics["rating"]) and score_files("codeforces", [tmp_path]) == found
    (tmp_path / "verdicts.json").write_text('{"verdicts": {"1A": "AC"}}')
    with pytest.raises(DataError, match='1A = "AC": must be a list'):
        score_files("codeforces", [tmp_path])
    (tmp_path / "verdicts.json").unlink()
    with pytest.raises(DataError, match="no verdicts: codeforces needs standings"):
        score_files("codeforces", [tmp_path])

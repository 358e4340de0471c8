"""Recorded outputs of real models: our scores and verdicts are those of the original scorers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from paths import SHARED
from typer.testing import CliRunner

from r1kit.cli import app

pytestmark = pytest.mark.skipif(not (SHARED / "recorded").exists(), reason="needs ../shared/data/recorded")


def scores(benchmark: str, file: str, against: str | None = None) -> dict[str, Any]:
    path = SHARED / file
    if not path.exists():
        pytest.skip(f"needs {path}")
    args = ["score", benchmark, str(path), "--json", *(["--against", against] if against else [])]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == ["benchmark", "n", "metrics", "agreement"] and found["benchmark"] == benchmark
    return found


@pytest.mark.parametrize(
    ("benchmark", "file", "against", "n"),
    [
        ("mmlu_pro", "recorded/mmlu_pro_letters.jsonl", "pred", 198),
        ("livecodebench", "recorded/lcb_extraction.jsonl", "code", 60),
        ("drop", "recorded/drop_cases.jsonl", "f1", 22),
        ("drop", "recorded/drop_cases.jsonl", "em", 22),
        ("arena_judge", "recorded/arena_judge_parse.jsonl", "score", 117),
        ("gsm8k", "gsm8k/model_solutions.jsonl", "is_correct", 1319),
    ],
)
def test_every_recorded_verdict_is_ours(benchmark: str, file: str, against: str, n: int) -> None:
    found = scores(benchmark, file, against)
    assert found["n"] >= n and found["agreement"] == 1


def test_mmlu_pro_names_the_stages_that_recorded_each_model() -> None:
    stages = scores("mmlu_pro", "recorded/mmlu_pro_letters.jsonl", "pred")["metrics"]["recorded_stages"]
    assert stages == {"gemini-1.5-pro-002": 3, "Mistral-7B-Instruct-v0.2": 2}


@pytest.mark.parametrize(
    ("benchmark", "file", "accuracy", "no_answer"),
    [
        ("zeroeval_gsm", "recorded/zeroeval_gsm.jsonl", 95.01, 0.0),
        ("zeroeval_math", "recorded/zeroeval_math_l5.jsonl", 15.12, 0.14),
    ],
)
def test_zero_eval_accuracy_is_the_published_one(benchmark: str, file: str, accuracy: float, no_answer: float) -> None:
    assert scores(benchmark, file)["metrics"] == {"accuracy": accuracy, "no_answer": no_answer}


def test_arena_hard_scores_are_those_of_the_leaderboard() -> None:
    """The leaderboard's intervals have 100 draws, so their ends are uncertain by about 0.4."""
    official = json.loads((SHARED / "recorded/arena_hard_expected.json").read_text())["official"]
    models = scores("arena_hard", "recorded/arena_hard_battles.jsonl")["metrics"]["models"]
    for name, ours in models.items():
        assert ours["score"] == pytest.approx(official[name]["score"], abs=0.05)
        assert ours["ci95"] == pytest.approx([official[name]["q025"], official[name]["q975"]], abs=0.6)
    assert models["gpt-4-0613"]["ci95_by_question"] == pytest.approx([34.0, 41.9], abs=0.1)


def test_alpaca_eval_win_rates_are_those_of_the_leaderboard() -> None:
    recorded = json.loads((SHARED / "recorded/alpaca_lc_numeric.json").read_text())["models"]
    models = scores("alpaca_eval", "recorded/alpaca_lc_numeric.json")["metrics"]["models"]
    assert models.keys() == recorded.keys()
    for name, ours in models.items():
        official = recorded[name]["official"]
        for metric in ("win_rate", "standard_error", "discrete_win_rate"):
            assert ours[metric] == pytest.approx(official[metric], abs=1e-9)
        assert ours["lc_win_rate"] == pytest.approx(official["length_controlled_winrate"], abs=0.1)


def test_livecodebench_pass_rate_of_the_papers_window() -> None:
    metrics = scores("livecodebench", "recorded/lcb_graded.jsonl", "graded")["metrics"]
    window = metrics["2024-08-01..2025-01-31"]
    assert window["o1-mini"]["pass@1"] == pytest.approx(51.97, abs=0.01)  # the paper has 53.8, of fewer problems


def test_ifeval_and_math_verdicts_where_they_are_recorded() -> None:
    ifeval = scores("ifeval", "recorded/ifeval_verdicts.jsonl", "strict")
    assert ifeval["metrics"]["instructions_agreeing"] > 96
    qwen = scores("math500", "recorded/qwen_math_maj.jsonl", "score")
    assert qwen["agreement"] > 0.95 and qwen["metrics"]["pass@1"] == pytest.approx(91.0, abs=1.0)

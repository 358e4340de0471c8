"""Functions of the user's own: what they read, in RL and in evaluation, and their two signatures."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.config import Evaluate
from r1kit.engine.scripted import ScriptedEngine
from r1kit.evals import benchmark
from r1kit.rewards import services
from r1kit.rewards.reply import Reply, RewardInput
from r1kit.rewards.score import RewardError, ScoreRequest, check_reward_names, score_with_verdict
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import RewardPool
from r1kit.types import Problem

OWN = """
seen = []
def see(completion): seen.append(completion); return 1.0
def cut_off(completion): return float(completion.finish_reason == "length")
def tokens(completion, per=1): return completion.token_count / per
def thought(completion): return float(len(completion.thinking or ""))
def old(problem, text): return float(len(text) + len(problem.question))
def old_with_option(problem, text, weight=2): return weight
def anything(*args): return len(args)
def giant(completion): return 10**9999
def interrupts(completion): raise KeyboardInterrupt
def complex_number(completion): return 1j
def batch(problems, texts): return [1.0]
class Callable:
    def __call__(self, completion): return float(completion.answer == completion.problem.answer)
right = Callable()
"""
PROBLEM = Problem("p", "7+6?", "13")
TEXT = "<think>7 and 6</think> It is \\boxed{13}."


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "own", raising=False)  # another test's
    return tmp_path


def value(name: str, folder: Path, text: str = TEXT, **changes: object) -> float:
    services.configure(Settings(folder=str(folder)))
    score, _ = score_with_verdict(ScoreRequest(PROBLEM, text, {f"own:{name}": 1.0}, **changes))
    return score.total


def test_a_function_reads_thinking_answer_finish_reason_and_token_count() -> None:
    read = RewardInput.of(PROBLEM, Reply(TEXT), token_count=9)
    assert read == RewardInput(PROBLEM, TEXT, "7 and 6", "It is \\boxed{13}.", "13", "stop", 9)
    opened = RewardInput.of(PROBLEM, Reply("7 and", think_open=True, truncated=True), token_count=2)
    assert opened == RewardInput(PROBLEM, "7 and", "7 and", "", None, "length", 2)
    plain = RewardInput.of(PROBLEM, Reply("I do not know."), token_count=5)
    assert plain == RewardInput(PROBLEM, "I do not know.", None, "I do not know.", None, "stop", 5)


def test_both_signatures(folder: Path) -> None:
    assert value("cut_off", folder) == 0 and value("cut_off", folder, truncated=True) == 1
    assert value("tokens", folder, token_count=12) == 12
    assert value("thought", folder) == len("7 and 6")
    assert value("right", folder) == 1 and value("right", folder, "\\boxed{12}") == 0
    assert value("old", folder) == len(TEXT) + len("7+6?")
    assert value("old_with_option", folder) == 2 and value("anything", folder) == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("giant", "returned an integer of 33216 bits, too large for a float for problem p, question '7\\+6\\?'"),
        ("interrupts", "failed on problem p, .+: KeyboardInterrupt"),
        ("complex_number", "returned 1j for problem p"),
        ("batch", r"returned \[1.0\] for problem p, .+: must return a number between .+ for one completion"),
    ],
)
def test_a_function_without_a_finite_number_is_named(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(RewardError, match=f"reward own:{name} {reason}"):
        value(name, folder)


def test_signatures_with_no_or_three_parameters_are_refused(folder: Path) -> None:
    (folder / "wrong.py").write_text(
        "def none(): return 1\ndef three(a, b, c): return 1\ndef keyword(*, completion): return 1"
    )
    for name in ("none", "three", "keyword"):
        with pytest.raises(RewardError, match=r"cannot be called with \(completion\) or \(problem, text\)"):
            check_reward_names({f"wrong:{name}": 1.0}, folder)


@pytest.mark.slow
def test_worker_processes_pass_the_token_count_on(folder: Path) -> None:
    requests = [ScoreRequest(PROBLEM, TEXT, {"own:tokens": 1.0}, token_count=n, truncated=n == 9) for n in (3, 9)]
    with RewardPool(1, settings=Settings(folder=str(folder))) as pool:
        for request in requests:
            pool.begin(request)
        assert [score.total for score in pool.score_many(requests)] == [3, 9]
        assert not pool._started, "equal texts with other token counts are other requests"


@pytest.mark.slow
def test_evaluation_reports_functions_of_the_user(
    folder: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that learned to be cut off shows it in evaluation too."""
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: TEXT if sample else "so " * 400)
    monkeypatch.setattr(benchmark, "load_engine", lambda *_: (engine, tokenizer))
    (folder / "sums.jsonl").write_text('{"question": "7+6?", "answer": "13"}\n')
    config = Evaluate(
        kind="evaluate", model="m", benchmarks={"sums": [str(folder / "sums.jsonl")]}, template="none", samples=4,
        max_completion_length=300, rewards=["own:cut_off", "own:tokens", "language"],
    )  # fmt: skip
    services.configure(Settings(folder=str(folder)))
    evaluation = benchmark.evaluate_model(folder, config, 0, "cpu", "float32", 8)
    summary = evaluation.benchmarks["sums"]
    assert (summary["pass@1"], summary["rewards/own:cut_off"]) == (0.75, 0.25)
    assert summary["rewards/own:tokens"] == summary["mean_tokens"] and "rewards/own:tokens" in summary["intervals"]
    assert [row["rewards"]["own:cut_off"] for row in evaluation.samples] == [1, 0, 0, 0]
    plain = benchmark.evaluate_model(folder, config.model_copy(update={"rewards": []}), 0, "cpu", "float32", 8)
    assert not [key for key in plain.benchmarks["sums"] if key.startswith("rewards")]
    assert all("rewards" not in row for row in plain.samples)
    assert plain.benchmarks["sums"]["pass@1"] == 0.75


def test_recipe_checks_the_functions_of_an_evaluation() -> None:
    keys = dict(kind="evaluate", model="m", benchmarks={"b": ["world:logic"]})
    assert Evaluate(**keys).reward_tables() == []
    assert Evaluate(**keys, rewards=["own:f"]).reward_tables() == [(("rewards",), {"own:f": 1.0})]


@pytest.mark.slow
def test_eval_command_finds_functions_in_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "near.py").write_text("def short(completion): return float(completion.token_count < 9)\n")
    monkeypatch.chdir(folder)
    keys = ["eval", "sprout-base", "--prompts", "world:arithmetic", "--limit", "2", "--max-completion-length", "8"]
    shown = CliRunner().invoke(app, [*keys, "--samples", "1", "--reward", "near:short"])
    assert re.search(r"rewards/near:short +1\b", shown.output), shown.output
    with pytest.raises(RewardError, match="near:none"):
        CliRunner().invoke(app, [*keys, "--reward", "near:none"], catch_exceptions=False)

"""`sample` and `eval` take the recipe's keys for the prompt and its stop strings as options."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.evals import benchmark
from r1kit.rollout import sample

OPTIONS = ["--system-prompt", "Be brief.", "--prompt-suffix", " Box it.", "--stop", "###", "--stop", "Q:"]
COMMANDS = [["sample", "sprout-base", "7+6?", "--json"], ["eval", "sprout-base", "--out", "o", "--json"]]


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch, tmp_path) -> list:
    """Collect what completions are sampled with."""
    seen: list = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample, "stream_samples", lambda _, questions, style, sampling, *rest: seen.extend(
        (style, sampling)) or iter(()))  # fmt: skip
    monkeypatch.setattr(benchmark, "evaluate_model", lambda _, config, *rest: seen.extend((config, config)) or (
        benchmark.Evaluation({}, [], [])))  # fmt: skip
    return seen


@pytest.mark.parametrize("command", COMMANDS, ids=["sample", "eval"])
def test_options_reach_the_prompt_and_the_engine(command: list[str], configs: list) -> None:
    done = CliRunner().invoke(app, [*command, "--template", "chat", *OPTIONS])
    assert done.exit_code == 0, done.output
    style, sampling = configs
    assert (style.template, style.system_prompt, style.prompt_suffix) == ("chat", "Be brief.", " Box it.")
    assert sampling.stop == ["###", "Q:"]


@pytest.mark.parametrize("command", COMMANDS, ids=["sample", "eval"])
def test_impossible_options_are_refused_in_a_sentence(command: list[str], configs: list) -> None:
    for options, message in (
        (["--system-prompt", "x"], 'system_prompt with template = "r1-zero", which has no roles: use'),
        (["--stop", ""], "stop = ['']: must not contain an empty text"),
    ):
        done = CliRunner().invoke(app, [*command, *options])
        assert str(done.exception).startswith(message) and not configs

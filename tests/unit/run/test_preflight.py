"""What a later stage could not do is refused before the first one starts, by `check`, `run` and `--dry-run` alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1kit import console
from r1kit.config import Recipe
from r1kit.errors import UserError
from r1kit.recipe import load_recipe, services
from r1kit.run import pipeline, preview
from r1kit.run.preflight import preflight

OFFLINE = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}  # nothing listens there


def r1kit(*args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **OFFLINE, "HF_HOME": str(Path("hf").absolute()), "XDG_CACHE_HOME": "/dev/null"}
    return subprocess.run([sys.executable, "-m", "r1kit", *args], capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage.eval.model=org/none", "stage.eval.model: org/none: not a directory here; not in the Hugging"),
        ('stage.eval.benchmarks.sums=["absent.csv"]', "stage.eval.benchmarks.sums[0]: absent.csv: no such file"),
        ("stage.more.num_generations=100000000", "stage.more.num_generations = 100000000: "),
        ("stage.more.rewards={}", "stage.more.rewards = {}: must have"),
        ("stage.more.rewards={format=-1}", "must have at least one reward with a positive weight"),
        ("stage.more.learning_rate=30", "stage.more.learning_rate = 30.0: must be between"),
        ('stage.eval.benchmarks.sums=["judged.jsonl"]', "sums[0]: judged.jsonl: the verifier 'judge' needs an end"),
        ('stage.eval.benchmarks.sums=["unknown.jsonl"]', "sums[0]: unknown.jsonl: unknown verifier 'jugde': did you"),
        ('stage.eval.benchmarks.sums=["broken.jsonl"]', "sums[0]: broken.jsonl, line 1: "),
        ('stage.eval.benchmarks.sums=["columns.csv"]', "columns.csv, row 1: the fields are frage, antwort: must be"),
        ("sandbox=wasm", "error: sandbox: the sandbox tier wasm does not work here"),
    ],
)  # fmt: skip
def test_last_stages_are_checked_first(recipe: Recipe, override: str, message: str) -> None:
    for name, verifier in (("judged", "judge"), ("unknown", "jugde")):
        row = {"question": "1 + 1?", "answer": "2", "verifier": verifier}
        Path(f"{name}.jsonl").write_text(json.dumps(row))
    Path("broken.jsonl").write_text('{"question": "1')
    Path("columns.csv").write_text("frage,antwort\n1 + 1?,2\n")
    start = time.monotonic()
    done = r1kit("run", "tiny.toml", "--set", override)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert time.monotonic() - start < 15, "the hub is asked once, without retries"
    assert not Path("runs/tiny/stages").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", [["check"], ["run"], ["run", "--dry-run"]], ids=" ".join)
def test_commands_refuse_alike(recipe: Recipe, command: list[str]) -> None:
    done = r1kit(command[0], "tiny.toml", "--set", 'stage.eval.benchmarks.sums=["absent.csv"]', *command[1:])
    assert done.returncode == 2 and "error: stage.eval.benchmarks.sums[0]: absent.csv: no such file" in done.stderr


def test_stages_after_until_are_not_checked(recipe: Recipe) -> None:
    later = load_recipe("tiny.toml", ['stage.eval.benchmarks.sums=["absent.jsonl"]', "stage.zero.ngram=0"])
    assert pipeline.run(later, "run", until="more")
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file"):
        pipeline.run(later, "run")
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file"):
        preview.preview(later, Path("run"))


def test_run_prints_the_warnings_of_check(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    checked = [line for line in r1kit("check", "tiny.toml").stdout.splitlines() if line.startswith("warning: ")]
    capsys.readouterr()
    pipeline.run(recipe, "run")
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: stage.")]
    assert printed == checked
    assert any("more than the model's 2048 positions" in line for line in checked)
    assert any("is not a multiple of steps_per_rollout" in line for line in checked)


def test_quiet_runs_print_warnings_once(
    recipe: Recipe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_verbosity", "quiet")
    pipeline.run(recipe, "run", until="more")
    assert "warning: stage.zero: " in capsys.readouterr().err
    pipeline.run(recipe, "run")
    assert "warning: stage." not in capsys.readouterr().err


def test_programs_without_a_sandbox_are_refused(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("programs.jsonl").write_text(json.dumps({"question": "Add.", "answer": "x", "verifier": "code"}))
    programs = load_recipe("tiny.toml", ['stage.eval.benchmarks.sums=["programs.jsonl"]'])
    opened: list[str] = []

    def refuse(tier: str, *among: object) -> None:
        opened.append(tier)
        raise UserError("no sandbox works here")

    monkeypatch.setattr(services, "require_sandbox", refuse)
    assert preflight(programs)[1] == ["stage.eval.benchmarks.sums[0]: no sandbox works here"]
    assert preflight(programs, ["more"])[1] == [] and preflight(recipe)[1] == []
    assert preflight(load_recipe("tiny.toml", ["sandbox=none"]))[1] == []
    assert opened == ["auto"]
    repositories = load_recipe("tiny.toml", ['stage.eval.benchmarks.sums=["world:repositories"]'])
    assert preflight(repositories)[1] == ["stage.eval.benchmarks.sums[0]: no sandbox works here"]

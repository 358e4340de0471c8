"""SIGTERM and ^C while a stage loads data, samples, grades, evaluates or trains: it ends soon and loses no update."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from r1kit.config import RL
from r1kit.interrupt import signal_handlers
from r1kit.model.hf import publish_model
from r1kit.stages import rl
from r1kit.stages.context import StageContext

SECONDS = 20  # from the signal to the end, on a busy machine; an idle one takes 1 or 2

RECIPE = """
name = "short"
device = "cpu"
reward_workers = 2
[stage.zero]
kind = "rl"
model = "sprout-base"
prompts = ["world:arithmetic"]
steps = 3
prompts_per_step = 2
num_generations = 4
steps_per_rollout = 1
max_completion_length = 16
save_every = 100
rewards = { "slow_reward:length" = 1.0 }
watchdogs = { constant_reward = "off", always_cut_off = "off", never_ends = "off" }
"""
REWARD = """
import time
from pathlib import Path

HERE = Path(__file__).parent

def length(problem, text):
    if (HERE / "hang").exists():
        (HERE / "hanging").touch()
        time.sleep(600)
    return float(len(text) % 7)
"""


def start(directory: Path, *args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(rl.__file__).parents[2])}
    command = [sys.executable, "-m", "r1kit", *args]
    return subprocess.Popen(command, cwd=directory, env=environment, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def catches(number: int, pid: int) -> bool:
    """Return whether the process has a handler for the signal."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        time.sleep(10)  # no Linux: long enough for an import
        return True
    [caught] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (number - 1) & 1)


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> str:
    """Send the signal and return the last line of stderr, after checking the exit code and the time."""
    sent = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert time.monotonic() - sent < SECONDS, errors
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    return errors.splitlines()[-1]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "short.toml").write_text(RECIPE)
    (tmp_path / "slow_reward.py").write_text(REWARD)
    return tmp_path


@pytest.mark.slow
def test_signal_while_a_reward_sleeps_loses_no_update(directory: Path) -> None:
    undisturbed = start(directory, "run", "short.toml", "--run-dir", "undisturbed")
    _, errors = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, errors
    process = start(directory, "run", "short.toml", "--run-dir", "stopped")
    stage = directory / "stopped/stages/zero"
    wait_until(lambda: (stage / "metrics.jsonl").exists() and b"\n" in (stage / "metrics.jsonl").read_bytes(), process)
    (directory / "hang").touch()
    wait_until((directory / "hanging").exists, process)
    assert "from its last checkpoint" in stop(process)
    assert len(list((stage / "checkpoints").glob("step_*"))) == 1, "although save_every is 100"
    (directory / "hang").unlink()
    resumed = start(directory, "run", "short.toml", "--run-dir", "stopped")
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    for name in ("metrics.jsonl", "model/model.safetensors"):
        assert (stage / name).read_bytes() == (directory / "undisturbed/stages/zero" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_a_huge_rollout_is_sampled(directory: Path, number: int) -> None:
    sizes = ("--set", "stage.zero.num_generations=20000", "--set", "stage.zero.prompts_per_step=16")
    process = start(directory, "run", "short.toml", "--run-dir", "run", *sizes)
    wait_until((directory / "run/stages/zero").exists, process)
    time.sleep(8)
    assert "interrupted in stage zero; run the same command again to continue from its start" in stop(process, number)


IN_A_STRING = """
exec('''
import os, signal, time
os.kill(os.getpid(), signal.{name})
time.sleep(60)
''')
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("module", ["slow_reward", "typer"])
def test_signal_while_code_from_a_string_is_imported(directory: Path, module: str, name: str) -> None:
    """Dataclasses run such code. Two cases: while a command imports a reward, and while it is imported itself."""
    (directory / f"{module}.py").write_text(IN_A_STRING.format(name=name))
    process = start(directory, "run", "short.toml", "--run-dir", "run")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors


@pytest.mark.slow
def test_signal_while_data_is_loaded(directory: Path) -> None:
    with (directory / "huge.jsonl").open("wb") as file:
        for i in range(1_000_000):
            file.write(b'{"question": "%d + 1", "answer": "%d"}\n' % (i, i + 1))
    process = start(directory, "run", "short.toml", "--run-dir", "run", "--set", "stage.zero.prompts=['huge.jsonl']")
    wait_until((directory / "run/stages/zero").exists, process)
    time.sleep(4)
    assert "interrupted in stage zero" in stop(process)
    process = start(directory, "eval", "sprout-base", "--prompts", "huge.jsonl")
    wait_until(lambda: catches(signal.SIGTERM, process.pid), process)
    time.sleep(5)
    assert stop(process) == "interrupted"


# -- in this process ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_dir(make_decoder, tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model"
    publish_model(make_decoder(0), tokenizer, path)
    return path


def train(model_dir: Path, directory: Path) -> Path:
    off = dict.fromkeys("never_ends always_cut_off constant_reward".split(), "off")
    arithmetic = {"source": "world:arithmetic", "limit": 4}
    config = RL(
        kind="rl", model="m", prompts=[arithmetic], steps=5, prompts_per_step=2, num_generations=3, steps_per_rollout=2,
        max_completion_length=8, save_every=100, watchdogs=off, learning_rate=1e-3, eval_every=1, eval_samples=1,
        benchmarks={"sums": [arithmetic]},
    )  # fmt: skip
    with signal_handlers():
        rl.run(config, StageContext("zero", directory, 5, "float32", "cpu", 8, {"m": model_dir}))
    return directory


@pytest.mark.parametrize("name", ["collect", "evaluate", "train_batch"])
def test_signal_in_any_part_of_a_step_changes_no_result(
    name: str,
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stop on every second call of a function, until the stage ends: in the rollout, evaluation or update."""
    undisturbed = train(model_dir, tmp_path / "undisturbed")
    original, calls = getattr(rl, name), []

    def interrupted(*args: object, **kwargs: object) -> object:
        calls.append(name)
        if len(calls) % 2 == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args, **kwargs)

    monkeypatch.setattr(rl, name, interrupted)
    stops = 0
    while True:
        try:
            stopped = train(model_dir, tmp_path / "stopped")
            break
        except KeyboardInterrupt:
            stops += 1
            assert stops < 10, "no progress between signals"
    assert stops >= 2
    assert "zero 5/5" in (shown := capsys.readouterr().err), shown
    assert "zero 6/5" not in shown, "the update whose row was not logged counts once"
    for file in ("metrics.jsonl", "model/model.safetensors"):
        assert (stopped / file).read_bytes() == (undisturbed / file).read_bytes()

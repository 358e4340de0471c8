"""Complete runs of several processes: the same result as one, however they are stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from ranks import environment
from safetensors.torch import load_file

from r1kit.run.outputs.export import export

RECIPE = (Path(__file__).parents[1] / "crash/crash.toml").read_text().partition("# The models above never")[0]
REWARDS = "def vowels(problem, text):\n    return float(sum(c in 'aeiou0123456789' for c in text))\n"
STAGES = ("base", "taught", "judge", "zero")
SECONDS = 900  # for one run, on a machine that does other work too


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a recipe of every kind of stage that trains, and what it reads."""
    directory = tmp_path_factory.mktemp("world")
    words = "one two three four five six seven eight nine ten".split()
    records = [{"prompt": f"{a} and {b}?", "response": f"<think>{b}</think>{a} {b}"} for a in words[:3] for b in words]
    pairs = [{"prompt": row["prompt"], "chosen": row["response"], "rejected": "no"} for row in records]
    for name, rows in (("records", records), ("pairs", pairs)):
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "crash_rewards.py").write_text(REWARDS)
    (directory / "recipe.toml").write_text(RECIPE)
    return directory


def start(world: Path, run: str, processes: int, *torchrun: str) -> subprocess.Popen[bytes]:
    """Start a run by its recipe's `processes`, or by torchrun with these options.

    Runs whose names have `split` in them share weights, those with `ahead` sample ahead.
    """
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", *torchrun] if torchrun else []
    command = [sys.executable, *launcher, "-m", "r1kit", "run", "recipe.toml", "--run-dir", run]
    setting = ["--set", f"processes={1 if torchrun else processes}"]
    setting += [word for stage in STAGES * ("split" in run) for word in ("--set", f"stage.{stage}.shard_weights=true")]
    setting += ["--set", f"stage.zero.rollouts_ahead={int('ahead' in run)}"]
    with open(world / f"{run}.txt", "ab") as log:
        return subprocess.Popen([*command, *setting], cwd=world, env=environment(), stdout=log, stderr=log)


def finish(world: Path, run: str, processes: int, *torchrun: str) -> Path:
    with start(world, run, processes, *torchrun) as child:
        code = child.wait(SECONDS)
    assert code == 0, (world / f"{run}.txt").read_text()
    return world / run


def outputs(run: Path) -> dict[str, bytes]:
    """The files that equal runs have in common, byte by byte."""
    names = [run / "stages" / stage / file for stage in STAGES for file in ("metrics.jsonl", "model/model.safetensors")]
    return {str(path.relative_to(run)): path.read_bytes() for path in names}


def files_of(stage: Path) -> list[str]:
    """The names of a stage's files, except for the tensors of checkpoints, one file for each process."""
    return sorted(str(path.relative_to(stage)) for path in stage.rglob("*") if path.suffix != ".distcp")


def ranks_of(launcher: subprocess.Popen[bytes]) -> list[int]:
    listed = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return [pid for pid in map(int, listed) if b"r1kit" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(scope="module")
def pair(world: Path) -> Path:
    """A run of two processes that nothing disturbs."""
    return finish(world, "pair", 2)


@pytest.fixture(scope="module")
def split(world: Path) -> Path:
    """The same with all weights in shares."""
    return finish(world, "split", 2)


@pytest.fixture(scope="module")
def single(world: Path) -> Path:
    return finish(world, "single", 1)


@pytest.fixture(scope="module")
def pair_ahead(world: Path) -> Path:
    return finish(world, "pair-ahead", 2)


def assert_equal_results(single: Path, several: Path) -> None:
    for stage in STAGES:
        one, two = (run / "stages" / stage for run in (single, several))
        expected, found = (load_file(directory / "model/model.safetensors") for directory in (one, two))
        assert expected.keys() == found.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=2e-3)
        logs = [(directory / "metrics.jsonl").read_text().splitlines() for directory in (one, two)]
        assert len(logs[0]) == len(logs[1])
        assert files_of(one) == files_of(two)


def test_two_processes_give_the_result_of_one(single: Path, pair: Path) -> None:
    assert_equal_results(single, pair)


def test_processes_that_share_all_weights_give_the_result_of_one(split: Path, single: Path) -> None:
    assert_equal_results(single, split)


def test_processes_that_sample_ahead_give_the_result_of_one(world: Path, pair_ahead: Path, pair: Path) -> None:
    assert_equal_results(finish(world, "single-ahead", 1), pair_ahead)
    assert outputs(pair_ahead) != outputs(pair)


@pytest.mark.parametrize("run", ["pair", "split"])
def test_last_checkpoint_of_all_processes_is_the_published_model(request: pytest.FixtureRequest, run: str) -> None:
    directory = request.getfixturevalue(run)
    exported = load_file(export(directory, "zero") / "model.safetensors")
    published = load_file(directory / "stages/zero/model/model.safetensors")
    assert exported.keys() == published.keys()
    assert all(torch.equal(exported[name], tensor) for name, tensor in published.items())


def test_only_the_first_process_speaks(world: Path, pair: Path) -> None:
    lines = (world / "pair.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in lines if ": done in" in line] == list(STAGES)


def kill_one_rank(world: Path, run: str, rows: int, seed: int) -> None:
    """Kill a random rank shortly after a random row of the logs. The launcher must replace it."""
    drawn = random.Random(seed)
    row, delay = drawn.randrange(rows - 1), drawn.uniform(0, 0.3)
    child = start(world, run, 2)
    while child.poll() is None and (rows_of(world / run) < row or not ranks_of(child)):
        time.sleep(0.02)
    time.sleep(delay)
    os.kill(drawn.choice(ranks_of(child)), signal.SIGKILL)
    code, text = child.wait(SECONDS), (world / f"{run}.txt").read_text()
    assert code == 0 and "was killed; all start again" in text, text
    assert "stopping after this step" not in text, "the ranks that are left cannot finish it"


def rows_of(run: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in run.glob("stages/*/metrics.jsonl"))


@pytest.mark.parametrize("trial", range(5))
def test_a_killed_rank_is_replaced(world: Path, pair: Path, trial: int) -> None:
    """The run ends with the bytes of an undisturbed one, so no step is lost."""
    kill_one_rank(world, f"killed{trial}", rows_of(pair), trial)
    assert outputs(world / f"killed{trial}") == outputs(pair)


def test_a_killed_rank_is_replaced_where_all_weights_are_shared(world: Path, split: Path) -> None:
    kill_one_rank(world, "killed-split", rows_of(split), 7)
    assert outputs(world / "killed-split") == outputs(split)


@pytest.mark.parametrize("trial", range(2))
def test_a_killed_rank_is_replaced_where_rollouts_are_ahead(world: Path, pair_ahead: Path, trial: int) -> None:
    kill_one_rank(world, f"killed-ahead{trial}", rows_of(pair_ahead), 10 + trial)
    assert outputs(world / f"killed-ahead{trial}") == outputs(pair_ahead)


def test_a_signal_stops_ranks_that_sample_ahead(world: Path, pair_ahead: Path) -> None:
    child = start(world, "stopped-ahead", 2)
    log = world / "stopped-ahead/stages/zero/metrics.jsonl"
    while child.poll() is None and not (log.is_file() and log.read_bytes()):
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(SECONDS) == 130, (world / "stopped-ahead.txt").read_text()
    assert outputs(finish(world, "stopped-ahead", 2)) == outputs(pair_ahead)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_ranks_and_the_run_continues(world: Path, pair: Path, number: int) -> None:
    run = f"stopped{number}"
    child = start(world, run, 2)
    log = world / run / "stages/taught/metrics.jsonl"
    while child.poll() is None and not (log.is_file() and log.read_bytes()):
        time.sleep(0.05)
    child.send_signal(number)
    assert child.wait(SECONDS) == 130, (world / f"{run}.txt").read_text()
    assert (world / f"{run}.txt").read_text().count("stopping after this step") <= 1, "only the first rank speaks"
    assert not (world / run / "stages/zero/artifact.json").exists()
    assert outputs(finish(world, run, 2)) == outputs(pair)


def test_torchrun_restarts_all_ranks_in_place(world: Path, pair: Path) -> None:
    child = start(world, "torchrun", 2, "--standalone", "--max-restarts=2")
    log = world / "torchrun" / "stages/taught/metrics.jsonl"
    while child.poll() is None and not (log.is_file() and log.read_bytes()):
        time.sleep(0.05)
    os.kill(ranks_of(child)[1], signal.SIGKILL)
    assert child.wait(SECONDS) == 0, (world / "torchrun.txt").read_text()
    assert outputs(world / "torchrun") == outputs(pair)


def test_a_mistake_of_the_user_ends_all_ranks(world: Path) -> None:
    """No restart, the exit code and the message of one process."""
    (world / "mistake").mkdir()
    (world / "mistake/other.txt").touch()
    with start(world, "mistake", 2) as child:
        assert child.wait(SECONDS) == 2
    text = (world / "mistake.txt").read_text()
    assert text.count("contains something other than a run") == 1 and "Traceback" not in text

"""Damaged checkpoints are named and not used; training resumes bit-identically from the one before."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_learner import all_equal, all_tensors, restore, save, tiny_learner, train

from r1kit.files import find_damage
from r1kit.learn.checkpoint import checkpoints

FLIPS, TRUNCATIONS = 500, 100


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the checkpoints of steps 1 and 2."""
    learner = tiny_learner()
    for step in (1, 2):
        train(learner, range(step - 1, step))
        save(learner, {"step": step}, tmp_path)
    return tmp_path


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def test_every_flipped_bit_and_truncation_is_detected(directory: Path) -> None:
    newest, rng = checkpoints(directory)[-1], random.Random(0)
    files = {path: path.read_bytes() for path in sorted(newest.rglob("*"))}
    assert {path.name for path in files} == {".metadata", "__0_0.distcp", "progress.json", "manifest.json"}
    for change in [flip] * FLIPS + [truncate] * TRUNCATIONS:
        path = rng.choice(list(files))
        path.write_bytes(change(files[path], rng))
        [damage] = find_damage(newest)
        assert damage.startswith(f"{path.name} is "), damage
        path.write_bytes(files[path])
    for path, data in files.items():
        path.unlink()
        assert find_damage(newest) == [f"{path.name} is missing"]
        path.write_bytes(data)
    assert find_damage(newest) == []


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", "progress.json", "manifest.json"])
@pytest.mark.parametrize("change", [flip, truncate, None])
def test_training_resumes_from_the_checkpoint_before(
    directory: Path, name: str, change: Callable[[bytes, random.Random], bytes] | None, capsys: pytest.CaptureFixture
) -> None:
    undisturbed = tiny_learner()
    train(undisturbed, range(4))
    path = directory / "step_00000002" / name
    path.write_bytes(change(path.read_bytes(), random.Random(1))) if change else path.unlink()
    resumed = tiny_learner(seed=9)
    assert restore(resumed, directory) == {"step": 1}
    output = capsys.readouterr().err
    assert f"{name} is" in output and "step_00000002 is damaged" in output and "resuming from step_00000001" in output
    train(resumed, range(1, 2))
    save(resumed, {"step": 2}, directory)
    train(resumed, range(2, 4))
    assert all_equal(all_tensors(resumed), all_tensors(undisturbed))
    assert sorted(path.name for path in directory.iterdir()) == [
        "damaged_step_00000002",
        "step_00000001",
        "step_00000002",
    ]
    assert not any(find_damage(path) for path in checkpoints(directory))


def test_training_starts_over_when_all_checkpoints_are_damaged(directory: Path, capsys: pytest.CaptureFixture) -> None:
    for path in directory.glob("step_*/progress.json"):
        path.write_bytes(b"{}")
    learner = tiny_learner()
    before = [p.clone() for p in learner.model.parameters()]
    assert restore(learner, directory) is None
    assert all_equal(list(learner.model.parameters()), before)
    assert "resuming from the stage's start" in capsys.readouterr().err

"""A checkpoint that is not as it was written is named and not used; the run goes on from the one before, to the bit."""

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
def two(tmp_path: Path) -> Path:
    """The checkpoints of steps 1 and 2."""
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


def test_every_flipped_bit_and_every_truncation_is_found_and_named(two: Path) -> None:
    newest, rng = checkpoints(two)[-1], random.Random(0)
    files = {path: path.read_bytes() for path in sorted(newest.rglob("*"))}
    assert {path.name for path in files} == {".metadata", "__0_0.distcp", "progress.json", "manifest.json"}
    for change in [flip] * FLIPS + [truncate] * TRUNCATIONS:
        path = rng.choice(list(files))
        path.write_bytes(change(files[path], rng))
        [named] = find_damage(newest)
        assert named.startswith(f"{path.name} is "), named
        path.write_bytes(files[path])
    for path, data in files.items():
        path.unlink()
        assert find_damage(newest) == [f"{path.name} is missing"]
        path.write_bytes(data)
    assert find_damage(newest) == []


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp", "progress.json", "manifest.json"])
@pytest.mark.parametrize("change", [flip, truncate, None])
def test_the_one_before_is_used_and_the_run_ends_in_the_same_bits(
    two: Path, name: str, change: Callable[[bytes, random.Random], bytes] | None, capsys: pytest.CaptureFixture
) -> None:
    undisturbed = tiny_learner()
    train(undisturbed, range(4))
    path = two / "step_00000002" / name
    path.write_bytes(change(path.read_bytes(), random.Random(1))) if change else path.unlink()
    resumed = tiny_learner(seed=9)
    assert restore(resumed, two) == {"step": 1}
    said = capsys.readouterr().err
    assert f"{name} is" in said and "step_00000002 is damaged" in said and "resuming from step_00000001" in said
    train(resumed, range(1, 2))
    save(resumed, {"step": 2}, two)
    train(resumed, range(2, 4))
    assert all_equal(all_tensors(resumed), all_tensors(undisturbed))
    assert sorted(path.name for path in two.iterdir()) == ["damaged_step_00000002", "step_00000001", "step_00000002"]
    assert not any(find_damage(path) for path in checkpoints(two))


def test_with_no_whole_checkpoint_the_stage_begins_anew(two: Path, capsys: pytest.CaptureFixture) -> None:
    for path in two.glob("step_*/progress.json"):
        path.write_bytes(b"{}")
    learner = tiny_learner()
    before = [p.clone() for p in learner.model.parameters()]
    assert restore(learner, two) is None
    assert all_equal(list(learner.model.parameters()), before)
    assert "resuming from the stage's start" in capsys.readouterr().err

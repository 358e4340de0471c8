"""A run that is stopped and restored goes on bit for bit as if it had not been; only whole checkpoints count."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_learner import everything, restore, same, save, tiny_learner, train

from r1kit.learn import checkpoint
from r1kit.learn.checkpoint import Checkpoints, checkpoints


@pytest.mark.parametrize(("beta", "dtype"), [(0.0, torch.float32), (0.02, torch.float32), (0.02, torch.bfloat16)])
@pytest.mark.parametrize("stop", [1, 4, 6])  # before, after and at a refresh of the reference
def test_restored_training_is_bit_identical(tmp_path, stop, beta, dtype):
    learner = tiny_learner(0, beta, dtype)
    train(learner, range(stop))
    save(learner, {"step": stop, "cursor": 77, "tokens": 123}, tmp_path)
    at_save = everything(learner)
    metrics = train(learner, range(stop, stop + 4))
    final = everything(learner)
    assert not all(torch.equal(a, b) for a, b in zip(at_save, final, strict=True))

    fresh = tiny_learner(9, beta, dtype)  # other weights: all must come from the checkpoint
    assert restore(fresh, tmp_path) == {"step": stop, "cursor": 77, "tokens": 123}
    assert same(everything(fresh), at_save)
    assert train(fresh, range(stop, stop + 4)) == metrics
    assert same(everything(fresh), final)


def test_saving_changes_nothing(tmp_path):
    saved, untouched = (tiny_learner(0, 0.02) for _ in range(2))
    for step in range(4):
        train(saved, range(step, step + 1))
        save(saved, {"step": step + 1}, tmp_path)
    train(untouched, range(4))
    assert same(everything(saved), everything(untouched))


def test_before_the_first_update_there_is_nothing_to_save(tmp_path):
    learner = tiny_learner(0, 0.0)
    save(learner, {"step": 0}, tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists() and not learner.optimizer.state


def test_what_is_saved_is_the_moment_of_saving(tmp_path):
    """Training goes on while the checkpoint is written: its tensors are copies."""
    learner = tiny_learner(0, 0.02)
    train(learner, range(4))
    at_save = everything(learner)
    with Checkpoints(tmp_path) as kept:
        kept.save(learner, {"step": 4})
        train(learner, range(4, 7))
    fresh = tiny_learner(9, 0.02)
    restore(fresh, tmp_path)
    assert same(everything(fresh), at_save)


def test_logs_are_cut_back_to_what_they_were(tmp_path, capsys):
    learner, log = tiny_learner(0, 0.0), tmp_path / "metrics.jsonl"
    train(learner, range(1))
    log.write_text("before\n")
    with Checkpoints(tmp_path / "checkpoints", [log]) as kept:
        kept.save(learner, {"step": 1})
        log.write_text("before\nafter\n")
        kept.wait()
        assert kept.restore(learner) == {"step": 1} and log.read_text() == "before\n"
        log.write_text("")
        kept.restore(learner)
    assert "7 bytes shorter than at the checkpoint" in capsys.readouterr().err
    log.write_text("of a stage without checkpoint\n")
    with Checkpoints(tmp_path / "none", [log]) as kept:
        assert kept.restore(learner) is None and log.read_text() == ""


def test_restored_weights_are_still_the_engines_own(tmp_path):
    """Loading fills the tensors in place: whoever shares the module, tied matrices included, sees the new weights."""
    learner = tiny_learner(0, 0.0)
    train(learner, range(1))
    save(learner, {"step": 1}, tmp_path)
    other = tiny_learner(9, 0.0)
    model, before = other.model, [p.data_ptr() for p in other.model.parameters()]
    restore(other, tmp_path)
    assert [p.data_ptr() for p in model.parameters()] == before
    assert torch.equal(model.embed.weight, learner.model.embed.weight)
    assert model.head_weight is model.embed.weight


def test_the_newest_stay_and_what_a_kill_left_behind_goes(tmp_path):
    learner = tiny_learner(0, 0.0)
    assert checkpoints(tmp_path) == [] and restore(learner, tmp_path) is None
    for name in (".step_00000099.tmp", ".step_00000098.old", "step_00000097.tmp", "step_12", "notes"):
        (tmp_path / name).mkdir()
    for step in (9, 10, 100):
        train(learner, range(step, step + 1))
        save(learner, {"step": step}, tmp_path)
    assert restore(learner, tmp_path) == {"step": 100}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "notes", "step_00000010", "step_00000097.tmp", "step_00000100", "step_12"
    ]  # fmt: skip


def test_the_old_goes_only_when_the_new_has_been_read_back(tmp_path, monkeypatch, capsys):
    learner = tiny_learner(0, 0.0)
    for step in (1, 2):
        train(learner, range(step, step + 1))
        save(learner, {"step": step}, tmp_path)
    publish = checkpoint.publish

    def publish_on_a_bad_disk(aside: Path, final: Path) -> None:
        publish(aside, final)
        next(final.glob("*.distcp")).write_bytes(b"other")

    monkeypatch.setattr(checkpoint, "publish", publish_on_a_bad_disk)
    train(learner, range(3, 4))
    save(learner, {"step": 3}, tmp_path)
    said = capsys.readouterr().err
    assert (
        "step_00000003 could not be written (read back differently from what was written: __0_0.distcp is 5 bytes"
        in said
    )
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000001", "step_00000002"]

"""Restored training is bit-identical; only complete checkpoints are used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_learner import all_equal, all_tensors, restore, save, tiny_learner, train

from r1kit.errors import UserError
from r1kit.learn import checkpoint
from r1kit.learn.checkpoint import Checkpoints, checkpoints


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "dtype"), [(0.0, torch.float32), (0.02, torch.float32), (0.02, torch.bfloat16)])
@pytest.mark.parametrize("stop", [1, 4, 6])  # before, after and at a refresh of the reference
def test_restored_training_is_bit_identical(tmp_path, stop, beta, dtype):
    learner = tiny_learner(0, beta, dtype)
    train(learner, range(stop))
    save(learner, {"step": stop, "cursor": 77, "tokens": 123}, tmp_path)
    at_save = all_tensors(learner)
    metrics = train(learner, range(stop, stop + 4))
    final = all_tensors(learner)
    assert not all(torch.equal(a, b) for a, b in zip(at_save, final, strict=True))

    fresh = tiny_learner(9, beta, dtype)  # other weights, so that all must come from the checkpoint
    assert restore(fresh, tmp_path) == {"step": stop, "cursor": 77, "tokens": 123}
    assert all_equal(all_tensors(fresh), at_save)
    assert train(fresh, range(stop, stop + 4)) == metrics
    assert all_equal(all_tensors(fresh), final)


@pytest.mark.slow
def test_saving_does_not_change_training(tmp_path):
    saved, untouched = (tiny_learner(0, 0.02) for _ in range(2))
    for step in range(4):
        train(saved, range(step, step + 1))
        save(saved, {"step": step + 1}, tmp_path)
    train(untouched, range(4))
    assert all_equal(all_tensors(saved), all_tensors(untouched))


def test_nothing_is_saved_before_the_first_update(tmp_path):
    learner = tiny_learner(0, 0.0)
    save(learner, {"step": 0}, tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists() and not learner.optimizer.state


def test_checkpoint_holds_the_weights_at_the_call_of_save(tmp_path):
    """Training continues while the checkpoint is written in the background."""
    learner = tiny_learner(0, 0.02)
    train(learner, range(4))
    at_save = all_tensors(learner)
    with Checkpoints(tmp_path) as kept:
        kept.save(learner, {"step": 4})
        train(learner, range(4, 7))
    fresh = tiny_learner(9, 0.02)
    restore(fresh, tmp_path)
    assert all_equal(all_tensors(fresh), at_save)


@pytest.mark.slow
def test_restore_truncates_logs(tmp_path, capsys):
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
    log.write_text("row\n")
    with Checkpoints(tmp_path / "none", [log]) as kept:
        assert kept.restore(learner) is None and log.read_text() == ""


def test_restore_fills_tensors_in_place(tmp_path):
    """The engine shares the module, tied embeddings included, and so sees the restored weights."""
    learner = tiny_learner(0, 0.0)
    train(learner, range(1))
    save(learner, {"step": 1}, tmp_path)
    other = tiny_learner(9, 0.0)
    model, before = other.model, [p.data_ptr() for p in other.model.parameters()]
    restore(other, tmp_path)
    assert [p.data_ptr() for p in model.parameters()] == before
    assert torch.equal(model.embed.weight, learner.model.embed.weight)
    assert model.head_weight is model.embed.weight


def test_newest_checkpoints_stay_and_temporary_ones_are_deleted(tmp_path):
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


def test_old_checkpoint_is_deleted_only_after_the_new_one_is_verified(tmp_path, monkeypatch, capsys):
    learner = tiny_learner(0, 0.0)
    for step in (1, 2):
        train(learner, range(step, step + 1))
        save(learner, {"step": step}, tmp_path)
    publish = checkpoint.publish

    def publish_on_bad_disk(temporary: Path, final: Path) -> None:
        publish(temporary, final)
        next(final.glob("*.distcp")).write_bytes(b"other")

    monkeypatch.setattr(checkpoint, "publish", publish_on_bad_disk)
    train(learner, range(3, 4))
    save(learner, {"step": 3}, tmp_path)
    said = capsys.readouterr().err
    assert (
        "step_00000003 could not be written (read back differently from what was written: __0_0.distcp is 5 bytes"
        in said
    )
    assert [path.name for path in checkpoints(tmp_path)] == ["step_00000001", "step_00000002"]


def test_checkpoint_of_the_best_evaluation_is_kept_and_loaded(tmp_path):
    learner = tiny_learner(0, 0.0)
    weights = {}
    with Checkpoints(tmp_path) as store:
        for step in range(1, 6):
            train(learner, range(step - 1, step))
            weights[step] = [weight.clone() for weight in learner.model.parameters()]
            store.save(learner, {"step": step, "best": {"metric": "m", "step": 1 if step < 5 else 5, "value": 0.0}})
            store.wait()
            assert {path.name for path in checkpoints(tmp_path)} == {
                f"step_{kept:08d}" for kept in (1, step - 1, step) if kept
            }
    fresh = tiny_learner(9, 0.0)
    with Checkpoints(tmp_path) as store:
        assert store.restore(fresh)["step"] == 5
        store.load_model(fresh, 1)
        assert all_equal(list(fresh.model.parameters()), weights[1])
        train(learner, range(5, 6))
        store.save(learner, {"step": 6, "best": {"metric": "m", "step": 5, "value": 0.0}})
        store.wait()
        assert [path.name[-1] for path in checkpoints(tmp_path)] == ["5", "6"], "5 is the best of both"
        with pytest.raises(UserError, match=r"manifest.json is missing\. It has the best evaluation"):
            store.load_model(fresh, 1)


def test_disk_error_is_fatal_for_the_best_checkpoint_only(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_manifest", full)
    learner = tiny_learner(0, 0.0)
    train(learner, range(1))
    with Checkpoints(tmp_path) as store:
        store.save(learner, {"step": 1})
    assert "Training goes on. Free space on the disk of" in capsys.readouterr().err
    message = r"No space left on device.*has the best evaluation.*run the same command again"
    with pytest.raises(UserError, match=message), Checkpoints(tmp_path) as store:
        store.save(learner, {"step": 1}, is_needed=True)


def test_amended_training_keeps_its_settings_and_never_goes_back(tmp_path):
    learner = tiny_learner(0, 0.0)
    with Checkpoints(tmp_path) as store:
        for step in (1, 2):
            train(learner, range(step - 1, step))
            store.save(learner, {"step": step})
    other = tiny_learner(0, 0.0)
    for group in other.optimizer.param_groups:
        group |= {"weight_decay": 0.5, "betas": (0.5, 0.6)}
    with Checkpoints(tmp_path, first=2) as store:
        store.restore(other)
    assert all((group["weight_decay"], group["betas"]) == (0.5, (0.5, 0.6)) for group in other.optimizer.param_groups)
    assert all_equal(all_tensors(other), all_tensors(learner))
    (tmp_path / "step_00000002/progress.json").write_text("{}")
    message = r"no intact checkpoint of step 2 or later.*--from"
    with pytest.raises(UserError, match=message), Checkpoints(tmp_path, first=2) as store:
        store.restore(other)

"""Checkpoints that some ranks wrote are continued by any other number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ranks import on_ranks
from tiny_learner import batch_of, tiny_learner

from r1kit.learn.checkpoint import Checkpoints
from r1kit.learn.learner import Learner
from r1kit.learn.sharded import whole
from r1kit.learn.world import ALONE, World


def started(world: World, shard_weights: bool = False) -> Learner:
    template = tiny_learner()
    return Learner(template.model, template.config.model_copy(update={"shard_weights": shard_weights}), world)


def state_of(learner: Learner) -> list[torch.Tensor]:
    """Every tensor that later updates depend on, complete."""
    tensors = [*learner.model.parameters(), *learner.reference.parameters()]
    for parameter in learner.master.parameters():
        state = learner.optimizer.state[parameter]
        tensors += [parameter, state["exp_avg"], state["exp_avg_sq"], torch.as_tensor(state["step"])]
    return [whole(tensor.detach()).clone() for tensor in tensors]


def save(learner: Learner, step: int, directory: Path, world: World) -> None:
    with Checkpoints(directory, world=world) as store:
        store.save(learner, {"step": step})


def restored(directory: Path, world: World, shard_weights: bool = False) -> tuple[Learner, int]:
    learner = started(world, shard_weights)
    with Checkpoints(directory, world=world) as store:
        return learner, store.restore(learner)["step"]


def one_writes(directory: Path) -> None:
    learner = started(ALONE)
    for step in range(3):
        learner.step(batch_of(step), step)
    save(learner, 3, directory, ALONE)
    torch.save(state_of(learner), directory / "state.pt")


def ranks_continue(world: World, folder: str, shard_weights: str) -> None:
    """The tensors of one process's checkpoint are read without change; two more updates are written."""
    directory = Path(folder)
    learner, step = restored(directory, world, shard_weights == "True")
    assert step == 3
    expected = torch.load(directory / "state.pt")
    assert all(torch.equal(a, b) for a, b in zip(state_of(learner), expected, strict=True))
    for step in (3, 4):
        learner.step(batch_of(step), step)
    save(learner, 5, directory, world)
    state = state_of(learner)
    if world.is_first:
        torch.save(state, directory / f"state{world.size}.pt")


@pytest.mark.parametrize("shard_weights", [False, True])
def test_one_then_two_then_one_rank_has_the_same_weights(tmp_path: Path, shard_weights: bool) -> None:
    one_writes(tmp_path)
    on_ranks(2, ranks_continue, str(tmp_path), str(shard_weights))
    learner, step = restored(tmp_path, ALONE)
    expected = torch.load(tmp_path / "state2.pt")
    assert step == 5 and all(torch.equal(a, b) for a, b in zip(state_of(learner), expected, strict=True))
    alone = started(ALONE)
    for step in range(5):
        alone.step(batch_of(step), step)
    for found, weight in zip(learner.model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(found, weight, rtol=0, atol=1e-5)

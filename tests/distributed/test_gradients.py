"""Ranks that share a step have the gradient and the metrics of a single process."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from critics import ppo_batch, ppo_learner
from learner_batches import CAP, LENGTHS, WITHOUT_CRITIC, config, gradient, random_batch
from ranks import on_ranks

from r1kit.learn.learner import Learner
from r1kit.learn.sharded import flush, full_tensor
from r1kit.learn.step.critic import Critic
from r1kit.learn.world import ALONE, World
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.types import TrainBatch

ONE_TOKEN = (1,) * 8 + LENGTHS[8:]  # two of four groups


def decoder(seed: int = 0, **changes: object) -> Decoder:
    """Matrices whose rows no number of ranks divides evenly."""
    shape = dict(model_type="qwen2", vocab_size=67, hidden_size=32, intermediate_size=45, eos_token_ids=(0,))
    shape |= dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8)
    model = Decoder(ModelConfig(**{**shape, **changes}))
    model.init_weights(seed)
    with torch.no_grad():
        for weight in (w for w in model.parameters() if w.ndim == 2):
            weight.mul_(6)
    return model


def learner(world: World, dtype: torch.dtype = torch.float32, **changes: object) -> Learner:
    model, settings = decoder().to(dtype), config(**changes)
    model.recompute = settings.recompute == "on"
    made = Learner(model, settings, world)
    if made.reference is not None:  # else the KL penalty of the first step is 0
        with torch.no_grad():
            for weight in made.reference.parameters():
                weight.mul_(1.01)
    return made


def first_group(batch: TrainBatch) -> TrainBatch:
    """The batch with one prompt: fewer than there are ranks."""
    rows = slice(4)
    return replace(
        batch,
        prompt_PL=batch.prompt_PL[:1],
        prompt_mask_PL=batch.prompt_mask_PL[:1],
        completion_BT=batch.completion_BT[rows],
        completion_mask_BT=batch.completion_mask_BT[rows],
        old_logp_BT=batch.old_logp_BT[rows],
        advantages_B=batch.advantages_B[rows],
        graded_B=batch.graded_B[rows],
        duplicate_of_B=batch.duplicate_of_B[rows],
    )


def one_completion(batch: TrainBatch) -> TrainBatch:
    """The batch with one prompt and four equal completions: work for one rank alone."""
    batch = first_group(batch)
    first = {name: getattr(batch, name)[:1] for name in ("completion_BT", "completion_mask_BT", "old_logp_BT")}
    repeated = {name: tensor.expand(4, -1).clone() for name, tensor in first.items()}
    return replace(batch, **repeated, duplicate_of_B=torch.zeros(4, dtype=torch.long))


def compare(world: World, batch: TrainBatch, tolerance: float = 1e-5, **settings: object) -> None:
    """The gradient of all ranks together, and their sums, are those of a single process."""
    alone, together = learner(ALONE, **settings), learner(world, **settings)
    expected_sums, expected = gradient(alone, batch)
    sums = together.backward(batch, CAP)
    flush(together.model, together.master, world)
    assert together.passes.splits or all(parameter.grad is None for parameter in together.model.parameters())
    scale = max(float(each.abs().max()) for each in expected)
    for found, each in zip(together.master.parameters(), expected, strict=True):
        torch.testing.assert_close(full_tensor(found.grad), each, rtol=0, atol=tolerance * scale)
    assert sums == pytest.approx(expected_sums, rel=1e-4, abs=1e-5)


def all_cases(world: World) -> None:
    batch = random_batch(decoder())
    for objective in WITHOUT_CRITIC:
        for beta in (0.0, 0.05):
            compare(world, batch, objective=objective, beta=beta)
    compare(world, random_batch(decoder(), lengths=ONE_TOKEN))
    compare(world, random_batch(decoder(), template=300))
    compare(world, random_batch(decoder(), template=300), recompute="on")
    compare(world, first_group(batch))
    compare(world, one_completion(batch))
    silent = replace(batch, advantages_B=batch.advantages_B * (torch.arange(16) >= 12))
    compare(world, silent, skip_zero_variance=True)


def shared_weights(world: World) -> None:
    """Compute weights in shares too: as many passes on every rank, each with prompts and completions."""
    batch = random_batch(decoder())
    for objective in WITHOUT_CRITIC:
        compare(world, batch, objective=objective, beta=0.05, shard_weights=True)
    compare(world, random_batch(decoder(), lengths=ONE_TOKEN), shard_weights=True, beta=0.0)
    compare(world, random_batch(decoder(), template=300), shard_weights=True)
    compare(world, first_group(batch), shard_weights=True)
    compare(world, one_completion(batch), shard_weights=True)  # the other ranks do idle passes only
    silent = replace(batch, advantages_B=batch.advantages_B * (torch.arange(16) >= 12))
    compare(world, silent, skip_zero_variance=True, shard_weights=True)
    compare(world, batch, shard_weights=True, recompute="on")
    updates(world, shard_weights=True)
    ppo(world, shard_weights=True)
    half_precision(world, shard_weights=True)


def ppo(world: World, **changes: object) -> None:
    """Values, both gradients, and three updates of policy and critic are those of a single process."""
    batch, last = ppo_batch(decoder()), ppo_batch(decoder(), lengths=ONE_TOKEN)
    alone, together = ppo_learner(decoder(), **changes), ppo_learner(decoder(), world, **changes)
    torch.testing.assert_close(together.critic.values(batch), alone.critic.values(batch), rtol=1e-4, atol=1e-5)
    for compute in (gradient_of_policy, gradient_of_critic):
        (expected_sums, expected), (sums, found) = compute(alone, batch), compute(together, batch)
        assert sums == pytest.approx(expected_sums, rel=1e-4, abs=1e-5)
        scale = max(float(each.abs().max()) for each in expected)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * scale)
    for step, each in enumerate((batch, last, batch)):
        assert together.step(each, step) == pytest.approx(alone.step(each, step), rel=1e-3, abs=1e-5)
    for one, other in zip(together.critic.master.parameters(), alone.critic.master.parameters(), strict=True):
        torch.testing.assert_close(full_tensor(one.detach()), other.detach(), rtol=0, atol=1e-4)


def gradient_of_policy(made: Learner, batch: TrainBatch) -> tuple[dict[str, float], list[torch.Tensor]]:
    return made.backward(batch, CAP), complete_gradient(made, made.world)


def gradient_of_critic(made: Learner, batch: TrainBatch) -> tuple[dict[str, float], list[torch.Tensor]]:
    sums = made.critic.backward(batch, made.prepare(batch).returns_BT)
    return sums, complete_gradient(made.critic, made.world)


def complete_gradient(made: Learner | Critic, world: World) -> list[torch.Tensor]:
    """The gradient of the master weights, complete on every rank, which then have none."""
    flush(made.model, made.master, world)
    gradients = [full_tensor(weight.grad).clone() for weight in made.master.parameters()]
    made.master.zero_grad()
    return gradients


def updates(world: World, **changes: object) -> None:
    """Weights, metrics and the reference model stay those of a single process over five updates."""
    batch = random_batch(decoder())
    settings = {"learning_rate": 1e-3, "ref_refresh_steps": 2, "weight_decay": 0.1, **changes}
    alone, together = learner(ALONE, **settings), learner(world, **settings)
    for step in range(5):
        expected = alone.step(batch, step)
        assert together.step(batch, step) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    with together.complete_policy() as policy:
        for found, weight in zip(policy.parameters(), alone.model.parameters(), strict=True):
            torch.testing.assert_close(found.data, weight.data, rtol=0, atol=1e-4)
        weights = [parameter.detach().tolist() for parameter in policy.parameters()]
    assert all(each == weights for each in world.gather(weights))


def nothing_to_learn(world: World) -> None:
    """What no rank has a gradient for gets none, so that AdamW leaves it alone; on one rank it is 0."""
    together = learner(world)
    flush(together.model, together.master, world)
    assert all(weight.grad is None for weight in together.master.parameters())
    if world.rank == 1:
        together.model.norm.weight.grad = torch.full((32,), 2.0)
    flush(together.model, together.master, world)
    assert full_tensor(together.master.norm.weight.grad).tolist() == [2.0] * 32
    assert sum(weight.grad is not None for weight in together.master.parameters()) == 1


def out_of_memory(world: World) -> None:
    """One rank's failed allocation halves the micro-batches of all."""
    batch = random_batch(decoder())
    together = learner(world)
    accumulate, attempts = together._accumulate, []

    def failing(*args: object) -> dict[str, float]:
        attempts.append(together.passes.micro_batch_tokens)
        sums = accumulate(*args)
        if world.rank == 1 and len(attempts) == 1:
            raise MemoryError
        return sums

    together._accumulate = failing
    sums = together.backward(batch, CAP)
    assert attempts == [40, 20]
    flush(together.model, together.master, world)
    expected_sums, expected = gradient(learner(ALONE), batch)
    assert sums == pytest.approx(expected_sums, rel=1e-4, abs=1e-5)
    for found, each in zip(together.master.parameters(), expected, strict=True):
        torch.testing.assert_close(full_tensor(found.grad), each, rtol=0, atol=1e-5)


def half_precision(world: World, **changes: object) -> None:
    """In bfloat16, gradients are summed in fp32 over micro-batches and ranks."""
    batch = random_batch(decoder())
    alone, together = learner(ALONE, torch.bfloat16, **changes), learner(world, torch.bfloat16, **changes)
    alone.backward(batch, CAP)
    together.backward(batch, CAP)
    flush(together.model, together.master, world)
    for found, parameter in zip(together.master.parameters(), alone.master.parameters(), strict=True):
        difference = (full_tensor(found.grad) - parameter.grad).norm() / parameter.grad.norm()
        assert found.grad.dtype == torch.float32 and difference < 0.02


def everything(world: World) -> None:
    for check in (all_cases, updates, nothing_to_learn, out_of_memory, half_precision, ppo):
        check(world)


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_compute_the_step_of_one_process(size: int) -> None:
    on_ranks(size, everything)


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_that_share_all_weights_compute_the_step_of_one_process(size: int) -> None:
    on_ranks(size, shared_weights)

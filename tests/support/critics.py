"""PPO learners with small critics, their batches, and a plain implementation of values, advantages and value loss.

Shapes: B sequences, T completion tokens.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from learner_batches import G, Tensors, config, random_batch

from r1kit.learn.learner import Learner
from r1kit.learn.world import ALONE, World
from r1kit.model.decoder import Decoder
from r1kit.model.policy import RewardModel
from r1kit.model.reward_model import reward_model_from
from r1kit.types import TrainBatch

CRITIC = {"learning_rate": 1e-3, "max_grad_norm": 0.5}


def critic_of(policy: Decoder, seed: int = 3) -> RewardModel:
    """A value model with the policy's body, and a head that is not zero."""
    model = reward_model_from(copy.deepcopy(policy), {})
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(model.score.weight.shape, generator=generator) * 0.2
    model.score.weight.data.copy_(drawn)
    return model


def ppo_learner(policy: Decoder, world: World = ALONE, **changes: object) -> Learner:
    """A learner whose reference model differs from the policy."""
    settings = config(**{"objective": "ppo", "gae_lambda": 0.9, "critic": CRITIC, **changes})
    critic = critic_of(policy)
    critic.recompute = policy.recompute
    made = Learner(policy, settings, world, critic)
    if made.reference is not None:
        with torch.no_grad():
            for weight in made.reference.parameters():
                weight.mul_(1.01)
    return made


def ppo_batch(policy: Decoder, with_environment: bool = False, **changes: object) -> TrainBatch:
    """A batch with two equal completions, random rewards, and values of a critic that was another one."""
    batch, generator = random_batch(policy, **changes), torch.Generator().manual_seed(6)
    if with_environment:  # which wrote the second and the third of every four tokens
        places_T = torch.arange(batch.completion_BT.shape[1]) % 4
        sampled_BT = ((places_T == 0) | (places_T == 3)).expand_as(batch.completion_BT)
        batch = replace(batch, sampled_BT=sampled_BT | ~batch.completion_mask_BT)
    for tensor in (batch.completion_BT, batch.completion_mask_BT, batch.old_logp_BT):
        tensor[3] = tensor[0]
    batch.duplicate_of_B[3] = 0
    values_BT = plain_values(critic_of(policy), batch).detach()
    values_BT += 0.3 * torch.randn(values_BT.shape, generator=generator)
    values_BT = values_BT[batch.duplicate_of_B] * batch.trained_BT
    return replace(batch, rewards_B=2 * torch.rand(len(values_BT), generator=generator), values_BT=values_BT)


def plain_values(critic: RewardModel, batch: TrainBatch) -> torch.Tensor:
    """Values [B, T] from one pass over each prompt and completion; 0 where none was sampled."""
    rows = []
    for b, mask in enumerate(batch.completion_mask_BT):
        prompt = batch.prompt_PL[b // G][batch.prompt_mask_PL[b // G]]
        row = torch.cat((prompt, batch.completion_BT[b][mask]))
        values = critic.values(critic(row[None])[0])[len(prompt) - 1 : -1]
        rows.append(torch.nn.functional.pad(values, (0, len(mask) - len(values))))
    return torch.stack(rows) * batch.trained_BT


def plain_advantages(rewards: list[float], values: list[float], gamma: float, gae_lambda: float) -> list[float]:
    """GAE as the sum of discounted temporal differences of one completion."""
    following = [*values, 0.0][1:]
    deltas = [r + gamma * after - value for r, value, after in zip(rewards, values, following, strict=True)]
    return [sum((gamma * gae_lambda) ** (k - t) * deltas[k] for k in range(t, len(deltas))) for t in range(len(deltas))]


def value_gradient(learner: Learner, batch: TrainBatch) -> tuple[dict[str, float], Tensors]:
    """The critic's own sums and gradient."""
    assert learner.critic is not None
    sums = learner.critic.backward(batch, learner.prepare(batch).returns_BT)
    gradients = [p.grad.clone() for p in learner.critic.model.parameters()]
    learner.critic.model.zero_grad()
    return sums, gradients

"""The critic of PPO: a value model of the policy's architecture, with an optimizer of its own.

The value of a state, a prompt and some tokens after it, is the reward expected from there. The critic reads it from the
hidden state that predicts the next token. On a rollout it is asked once, before the first update, as PPO does (Schulman
et al. 2017); each update then moves it towards the returns.

Shapes: B sequences, T completion tokens, S sampled ones in a micro-batch, D model width.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from r1kit.config import RL
from r1kit.errors import UserError
from r1kit.learn.advantage import explained_variance
from r1kit.learn.lora import add_adapters
from r1kit.learn.loss import value_loss
from r1kit.learn.memory import offloads
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.learn.precision import copy_weights, master_copy
from r1kit.learn.sharded import flush, release, split
from r1kit.learn.step.passes import Passes, Rows
from r1kit.model.hf import load_model
from r1kit.model.hf_config import read_config
from r1kit.model.policy import RewardModel
from r1kit.model.reward_model import load_reward_model, reward_model_from
from r1kit.types import TrainBatch


class Critic:
    """Value model and optimizer: a `learn.checkpoint.TrainingState`, as part of the learner's."""

    reference: None = None
    critic: None = None

    def __init__(self, model: RewardModel, config: RL, passes: Passes) -> None:
        """Prepare the training of a value model with weights in the run's dtype, in the policy's `passes`."""
        assert config.critic is not None
        self.config, self.settings, self.passes = config, config.critic, passes
        if passes.splits:
            self.model = split(model, passes.world, next(model.parameters()).dtype)
            self.master = self.model
        else:
            self.model = model
            self.master = master_copy(model, offloads(config, model.device), passes.world)
        self.optimizer = make_optimizer(self.master, config.critic)

    def sync_compute_weights(self) -> None:
        """Copy the master weights to the compute weights, rounded to their dtype."""
        copy_weights(self.master, self.model)

    def values(self, batch: TrainBatch) -> Tensor:
        """Return the values [B, T] of the states before each token, on all ranks; 0 where none was sampled."""

        def compute() -> Tensor:
            return self.passes.forward(self.model, batch, lambda states_SD, _: self.model.values(states_SD))

        values_BT = self.passes.fitting(compute, batch, ())
        release(self.model)
        return self.passes.world.sum(values_BT)

    def step(self, batch: TrainBatch, returns_BT: Tensor, step: int) -> dict[str, float]:
        """Update the critic on the returns of one batch and return metrics. Non-finite gradients are dropped."""
        sums = self.backward(batch, returns_BT)
        flush(self.model, self.master, self.passes.world)
        rate = learning_rate(self.settings, step, self.config.steps)
        grad_norm = update(self.master, self.optimizer, rate, self.settings.max_grad_norm)
        self.sync_compute_weights()
        mask_BT, old_BT = batch.trained_BT, _old_values(batch)
        return {
            "critic/loss": sums["loss"],
            "critic/explained_variance": explained_variance(returns_BT[mask_BT], old_BT[mask_BT]),
            "critic/clip_ratio": sums["clipped"] / max(1, int(mask_BT.sum())),
            "critic/grad_norm": grad_norm,
            "critic/learning_rate": rate,
        }

    def backward(self, batch: TrainBatch, returns_BT: Tensor) -> dict[str, float]:
        """Accumulate the gradient of the value loss, on several ranks each its part. Return its sums over all."""

        def compute() -> dict[str, float]:
            sums = {"loss": 0.0, "clipped": 0.0}
            self.passes.backward(
                self.model, batch, lambda states_SD, rows: self._loss(batch, returns_BT, sums, states_SD, rows)
            )
            return sums

        return self.passes.total(self.passes.fitting(compute, batch, (self.model, self.master)))

    def _loss(
        self, batch: TrainBatch, returns_BT: Tensor, sums: dict[str, float], states_SD: Tensor, rows: Rows
    ) -> Tensor:
        """Return the value loss of one micro-batch; add to `sums`."""
        values_BT, mask_BT, epsilon = rows.spread(self.model.values(states_SD)), rows.trained_BT, self.config.epsilon
        old_BT, tokens = rows.take(_old_values(batch)), max(1, int(batch.trained_BT.sum()))
        loss = value_loss(values_BT, old_BT, rows.take(returns_BT), mask_BT, epsilon, tokens)
        with torch.no_grad():
            sums["loss"] += float(loss)
            sums["clipped"] += float((((values_BT - old_BT).abs() > epsilon) & mask_BT).sum())
        return loss


def load_critic(
    config: RL, policy: Path, critic: Path | None, dtype: torch.dtype, device: torch.device | str, seed: int
) -> RewardModel:
    """Return the value model before the first update.

    Args:
        config: The stage's config. With `lora_rank`, the critic trains adapters and its head.
        policy: Checkpoint of the policy, with whose weights and a head of zeros the critic starts by default.
        critic: Checkpoint of the reward model that it starts from instead.
        dtype: Of the compute weights.
        device: Of the compute weights.
        seed: Of adapters.

    Raises:
        UserError: The reward model has another vocabulary than the policy.
    """
    if critic is None:
        model = reward_model_from(load_model(policy, dtype, device), {})
    else:
        model = load_reward_model(critic, dtype, device)
        if (own := model.config.vocab_size) != (wanted := read_config(policy).vocab_size):
            raise UserError(
                f"critic.model: {critic} has {own:,} tokens in its vocabulary, the policy {wanted:,}: start from a "
                "reward model with the policy's tokenizer"
            )
    if config.lora_rank:
        add_adapters(model, config.lora_rank, config.lora_alpha, seed)
        model.score.float().requires_grad_(True)
    return model


def _old_values(batch: TrainBatch) -> Tensor:
    assert batch.values_BT is not None
    return batch.values_BT * batch.trained_BT

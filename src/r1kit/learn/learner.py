"""One policy update: log-probabilities, the objective, gradients, AdamW.

    1. Compute the reference model's log-probabilities of the complete batch.
    2. In PPO, compute the advantages of tokens from the critic's values, and their returns.
    3. Compute log-probabilities and gradients of the completions, in as many passes as memory needs (`step.passes`).
    4. Update the policy, and in PPO the critic.

Shapes: B sequences, T completion tokens, S sampled ones in a micro-batch, D model width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from r1kit.config import RL
from r1kit.learn.advantage import generalised_advantages, token_rewards, whiten
from r1kit.learn.kl import KLPenalty, k1
from r1kit.learn.logprobs import token_logprobs, token_logprobs_and_entropy
from r1kit.learn.loss import OBJECTIVES, Clip, Norm, Terms, clip_counts
from r1kit.learn.memory import offloads
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.learn.precision import copy_weights, master_copy
from r1kit.learn.reference import make_reference, reference_model, refresh_reference
from r1kit.learn.sharded import filled, flush, gather_by_block, release, split
from r1kit.learn.step.critic import Critic
from r1kit.learn.step.passes import Passes, Rows
from r1kit.learn.world import ALONE, World
from r1kit.model.policy import Policy, RewardModel
from r1kit.types import TrainBatch

CLIP_METRICS = ("clip_ratio", "dual_clip_ratio", "importance_capped")  # shares of tokens
GAMMA = 1.0  # PPO's discount: a reward is worth as much after a long completion as after a short one


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is computed of a batch before its gradient."""

    ref_logp_BT: Tensor | None
    """Of this rank's rows, or of all in PPO; None without reference model."""
    advantages_BT: Tensor
    """[B, 1] if all tokens of a completion have the same."""
    returns_BT: Tensor | None
    """What the critic learns; None without one."""


class Learner:
    """Policy, reference model, critic and optimizers.

    `model` holds the compute weights in the run's dtype and `master` the fp32 weights that the optimizer updates.
    Several ranks are given the same batches: each does a part of the work, and all have the same weights and metrics.
    With `shard_weights`, `model` and `master` are one module whose weights are shares of fp32 weights, and the model
    that was given has none (`complete_policy`).
    """

    def __init__(self, model: Policy, config: RL, world: World = ALONE, critic: RewardModel | None = None) -> None:
        """Prepare the training of a policy. `critic` is the value model of PPO before its first update."""
        self.model, self.config, self.world = model, config, world
        self.passes, self._given = Passes(config, world), model
        offload = offloads(config, model.device)
        self.reference = make_reference(model, offload) if config.beta > 0 else None
        if self.passes.splits:
            self.model = self.master = split(model, world, next(model.parameters()).dtype)
            if self.reference is not None:
                gather_by_block(self.reference, world)
        else:
            self.master = master_copy(model, offload, world)
        self.optimizer = make_optimizer(self.master, config)
        assert (critic is not None) == (config.critic is not None)
        self.critic = Critic(critic, config, self.passes) if critic is not None else None
        self.clip = Clip.from_config(config)
        self.kl = KLPenalty.from_config(config)
        self.objective = OBJECTIVES[config.objective]
        self.seconds_in_reference = 0.0  # of the last step

    def step(self, batch: TrainBatch, step: int) -> dict[str, float]:
        """Update the policy on one batch and return metrics under TRL's names. Non-finite gradients are dropped."""
        prepared = self.prepare(batch)
        sums = self.backward(batch, self.config.completion_cap(step), prepared)
        flush(self.model, self.master, self.world)
        rate = learning_rate(self.config, step, self.config.steps)
        grad_norm = update(self.master, self.optimizer, rate, self.config.max_grad_norm)
        self.sync_compute_weights()
        critic: dict[str, float] = {}
        if self.critic is not None and prepared.returns_BT is not None:
            critic = self.critic.step(batch, prepared.returns_BT, step)
        refresh = self.config.ref_refresh_steps
        if refresh and (step + 1) % refresh == 0:
            self.refresh_reference()
        tokens = max(1, sums["tokens"])
        halved = self.passes.micro_batch_tokens < self.config.micro_batch_tokens
        is_finite = math.isfinite(grad_norm) and math.isfinite(critic.get("critic/grad_norm", 0.0))
        return {
            "loss": sums["loss"],
            "grad_norm": grad_norm,
            "skipped": float(not is_finite),
            "learning_rate": rate,
            "kl": sums["kl"] / tokens,
            "entropy": sums["entropy"] / tokens,
            **{name: count / tokens for name, count in sums.items() if name in CLIP_METRICS},
            **critic,
            "sampling/logp_difference_mean": sums["gap"] / tokens,
            "sampling/logp_difference_max": sums["gap_max"],
            **({"micro_batch_tokens": self.passes.micro_batch_tokens} if halved else {}),
        }

    def sync_compute_weights(self) -> None:
        """Copy the master weights to the compute weights, rounded to their dtype."""
        copy_weights(self.master, self.model)

    @contextmanager
    def complete_policy(self) -> Iterator[Policy]:
        """Yield the policy with all its weights, to sample with or to save. All ranks enter the block."""
        if self.passes.splits:
            with filled(self._given, self.model) as policy:
                yield policy
        else:
            yield self.model

    def refresh_reference(self) -> None:
        """Make the current policy the reference model (paper: every 400 steps)."""
        if self.reference is not None:
            refresh_reference(self.reference, self.model)

    def prepare(self, batch: TrainBatch) -> Prepared:
        """Compute what the losses of a batch read besides it."""
        start, reference = time.monotonic(), self.reference  # first of all, while no activations of the policy are held
        ref_logp_BT: Tensor | None = None
        if reference is not None:
            ref_logp_BT = self.passes.fitting(lambda: self._reference_logprobs(batch, reference), batch, ())
        self.seconds_in_reference = time.monotonic() - start
        if self.critic is None:
            return Prepared(ref_logp_BT, batch.advantages_B[:, None], None)
        if ref_logp_BT is not None:
            ref_logp_BT = self.world.sum(ref_logp_BT)  # whitening needs the tokens of all ranks
        advantages_BT, returns_BT = self._token_advantages(batch, ref_logp_BT)
        return Prepared(ref_logp_BT, whiten(advantages_BT, batch.trained_BT), returns_BT)

    def _token_advantages(self, batch: TrainBatch, ref_logp_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return GAE's advantages and returns [B, T] of sampled tokens. What an environment wrote is no step of it."""
        assert batch.rewards_B is not None and batch.values_BT is not None
        trained_BT = batch.trained_BT
        values_BT, penalty_BT = batch.values_BT * trained_BT, torch.zeros_like(batch.values_BT)
        if ref_logp_BT is not None:
            penalty_BT = self.config.beta * k1(batch.old_logp_BT, ref_logp_BT) * trained_BT
        order_BT = (~trained_BT).byte().argsort(dim=1, stable=True)  # sampled tokens first
        values_BS, penalty_BS, mask_BS = (x.gather(1, order_BT) for x in (values_BT, penalty_BT, trained_BT))
        rewards_BS = token_rewards(batch.rewards_B, mask_BS, penalty_BS)
        advantages_BS = generalised_advantages(rewards_BS, values_BS, GAMMA, self.config.gae_lambda)
        advantages_BT = torch.zeros_like(values_BT).scatter(1, order_BT, advantages_BS)
        return advantages_BT, advantages_BT + values_BT

    def backward(self, batch: TrainBatch, max_tokens: int, prepared: Prepared | None = None) -> dict[str, float]:
        """Accumulate the policy's gradient of a step, on several ranks each its part. Return the sums of `step`."""
        read = prepared or self.prepare(batch)
        models = (self.model, self.master)
        return self.passes.total(self.passes.fitting(lambda: self._accumulate(batch, max_tokens, read), batch, models))

    def _accumulate(self, batch: TrainBatch, max_tokens: int, prepared: Prepared) -> dict[str, float]:
        sums = dict.fromkeys(("loss", "tokens", "kl", "entropy", "clip_ratio", "gap", "gap_max"), 0.0)
        norm = Norm(max(1, int(batch.graded_B.sum())), max(1, int(batch.trained_BT.sum())), max_tokens)
        self.passes.backward(
            self.model, batch, lambda states_SD, rows: self._loss(batch, prepared, norm, sums, states_SD, rows)
        )
        return sums

    def _reference_logprobs(self, batch: TrainBatch, reference: nn.Module) -> Tensor:
        """Return the reference model's log-probabilities [B, T] of this rank's rows, zero elsewhere."""
        with reference_model(reference, self.model) as model:

            def logprobs(states_SD: Tensor, rows: Rows) -> Tensor:
                return token_logprobs(
                    states_SD, model.head_weight, rows.targets_S, batch.temperature, fp32=model.fp32_head
                )

            logp_BT = self.passes.forward(model, batch, logprobs)
        release(reference)
        return logp_BT

    def _loss(
        self,
        batch: TrainBatch,
        prepared: Prepared,
        norm: Norm,
        sums: dict[str, float],
        states_SD: Tensor,
        rows: Rows,
    ) -> Tensor:
        """Return the loss of one micro-batch; add to `sums`."""
        logp_S, entropy_S = token_logprobs_and_entropy(
            states_SD, self.model.head_weight, rows.targets_S, batch.temperature, fp32=self.model.fp32_head
        )
        logp_BT, old_logp_BT, mask_BT = rows.spread(logp_S), rows.take(batch.old_logp_BT), rows.trained_BT
        ref_logp_BT = None if prepared.ref_logp_BT is None else rows.take(prepared.ref_logp_BT)
        terms = Terms(logp_BT, old_logp_BT, ref_logp_BT, rows.take(prepared.advantages_BT), mask_BT)
        loss = self.objective.loss(terms, self.clip, self.kl, norm)
        with torch.no_grad():
            gap_BT = (logp_BT - old_logp_BT).abs() * mask_BT
            sums["loss"] += float(loss)
            sums["tokens"] += int(mask_BT.sum())
            sums["entropy"] += float(rows.spread(entropy_S).sum())
            for name, count in clip_counts(self.objective, terms, self.clip).items():
                sums[name] = sums.get(name, 0.0) + count
            sums["gap"] += float(gap_BT.sum())
            sums["gap_max"] = max(sums["gap_max"], float(gap_BT.max()))
            if ref_logp_BT is not None:
                sums["kl"] += float((self.kl.estimate(logp_BT, ref_logp_BT) * mask_BT).sum())
        return loss

"""One policy update: log-probabilities with shared prompts, the objective, gradients, AdamW.

    1. Compute the reference model's log-probabilities of the complete batch.
    2. Compute the prompts: keys, values and last hidden states, once per prompt instead of once per completion.
    3. Compute the completions' log-probabilities behind those, once per distinct completion of a prompt.
    4. Evaluate the objective over all completions, and send gradients back to the detached results of step 2.
    5. Send what those accumulated back through the prompts.

Shapes: P prompts, B sequences, U distinct ones, L longest prompt, T longest completion, N tokens, D model width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from r1kit.config import RL
from r1kit.console import say
from r1kit.errors import UserError, is_out_of_memory
from r1kit.learn.batch import micro_batches, prompt_blocks, rows_of_rank
from r1kit.learn.kl import KLPenalty
from r1kit.learn.logprobs import token_logprobs, token_logprobs_and_entropy
from r1kit.learn.loss import OBJECTIVES, Clip, Norm, Terms, clip_counts
from r1kit.learn.memory import offloads
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.learn.precision import copy_weights, master_copy
from r1kit.learn.reference import make_reference, reference_model, refresh_reference
from r1kit.learn.sharded import filled, flush, gather_by_block, idle_pass, release, split
from r1kit.learn.world import ALONE, World
from r1kit.machine import free_memory
from r1kit.model.policy import Policy, Prompts
from r1kit.model.prefix import PromptTokens
from r1kit.types import TrainBatch

CLIP_METRICS = ("clip_ratio", "dual_clip_ratio", "importance_capped")  # shares of tokens
OUT_OF_MEMORY = (
    "out of memory with one completion at a time ({tokens} tokens): lower max_completion_length, use a smaller model, "
    "or free memory and run the same command again to continue"
)
OUT_OF_MEMORY_SPLIT = (
    "out of memory with micro_batch_tokens = {tokens}, which shard_weights = true cannot lower during a step: lower it "
    "and run the same command again to continue"
)


class _Rows:
    """Some rows of a batch, as long as the longest of them.

    Shapes: N tokens inside the mask, S sampled ones among them.
    """

    def __init__(self, batch: TrainBatch, rows_U: Tensor) -> None:
        length = max(1, int(batch.completion_mask_BT[rows_U].sum(1).max()))
        self.tokens_UT, self.mask_UT = batch.completion_BT[rows_U, :length], batch.completion_mask_BT[rows_U, :length]
        self.all_sampled = batch.sampled_BT is None
        self.trained_UT = self.mask_UT if self.all_sampled else batch.trained_BT[rows_U, :length]

    def states(self, model: Policy, prompts: Prompts, prompt_U: Tensor) -> tuple[Tensor, Tensor]:
        """Return the hidden states [S, D] in front of the sampled tokens, and these tokens [S]."""
        states_ND = prompts.completion_states(model, prompt_U, self.tokens_UT, self.mask_UT)
        states_SD = states_ND if self.all_sampled else states_ND[self.trained_UT[self.mask_UT]]
        return states_SD, self.tokens_UT[self.trained_UT]

    def padded(self, x_S: Tensor) -> Tensor:
        """Return x as [U, T], zero except at sampled tokens."""
        return x_S.new_zeros(self.trained_UT.shape).masked_scatter(self.trained_UT, x_S)


def _total(sums: list[dict[str, float]]) -> dict[str, float]:
    """Return the sums over all ranks; of `gap_max`, the largest."""
    names = dict.fromkeys(name for each in sums for name in each)
    return {name: (max if name == "gap_max" else sum)(each.get(name, 0.0) for each in sums) for name in names}


class Learner:
    """Policy, reference model and optimizer.

    `model` holds the compute weights in the run's dtype and `master` the fp32 weights that the optimizer updates.
    Several ranks are given the same batches: each does a part of the work, and all have the same weights and metrics.
    With `shard_weights`, `model` and `master` are one module whose weights are shares of fp32 weights, and the model
    that was given has none (`complete_policy`).
    """

    def __init__(self, model: Policy, config: RL, world: World = ALONE) -> None:
        self.model, self.config, self.world = model, config, world
        self.splits, self._given = config.shard_weights and world.size > 1, model
        offload = offloads(config, model.device)
        self.reference = make_reference(model, offload) if config.beta > 0 else None
        if self.splits:
            self.model = self.master = split(model, world, next(model.parameters()).dtype)
            if self.reference is not None:
                gather_by_block(self.reference, world)
        else:
            self.master = master_copy(model, offload, world)
        self.optimizer = make_optimizer(self.master, config)
        self.micro_batch_tokens = config.micro_batch_tokens  # halved when it does not fit in memory
        self.clip = Clip.from_config(config)
        self.kl = KLPenalty.from_config(config)
        self.objective = OBJECTIVES[config.objective]
        self.seconds_in_reference = 0.0  # of the last step

    def step(self, batch: TrainBatch, step: int) -> dict[str, float]:
        """Update the policy on one batch and return metrics under TRL's names. Non-finite gradients are dropped."""
        sums = self.backward(batch, self.config.completion_cap(step))
        flush(self.model, self.master, self.world)
        rate = learning_rate(self.config, step, self.config.steps)
        grad_norm = update(self.master, self.optimizer, rate, self.config.max_grad_norm)
        self.sync_compute_weights()
        refresh = self.config.ref_refresh_steps
        if refresh and (step + 1) % refresh == 0:
            self.refresh_reference()
        tokens = max(1, sums["tokens"])
        halved = self.micro_batch_tokens < self.config.micro_batch_tokens
        return {
            "loss": sums["loss"],
            "grad_norm": grad_norm,
            "skipped": float(not math.isfinite(grad_norm)),
            "learning_rate": rate,
            "kl": sums["kl"] / tokens,
            "entropy": sums["entropy"] / tokens,
            **{name: count / tokens for name, count in sums.items() if name in CLIP_METRICS},
            "sampling/logp_difference_mean": sums["gap"] / tokens,
            "sampling/logp_difference_max": sums["gap_max"],
            **({"micro_batch_tokens": self.micro_batch_tokens} if halved else {}),
        }

    def sync_compute_weights(self) -> None:
        """Copy the master weights to the compute weights, rounded to their dtype."""
        copy_weights(self.master, self.model)

    @contextmanager
    def complete_policy(self) -> Iterator[Policy]:
        """Yield the policy with all its weights, to sample with or to save. All ranks enter the block."""
        if self.splits:
            with filled(self._given, self.model) as policy:
                yield policy
        else:
            yield self.model

    def refresh_reference(self) -> None:
        """Make the current policy the reference model (paper: every 400 steps)."""
        if self.reference is not None:
            refresh_reference(self.reference, self.model)

    def backward(self, batch: TrainBatch, max_tokens: int) -> dict[str, float]:
        """Accumulate the gradient of a step, on several ranks each its part. Return the sums that `step` reports.

        When memory runs out on any rank, all halve the micro-batch permanently and compute the gradient again from the
        start: how a step is split does not change its gradient.
        """
        smallest = max(batch.prompt_PL.shape[1], batch.completion_BT.shape[1])  # one row at a time
        while True:
            sums: dict[str, float] | None = None
            try:
                sums = self._accumulate(batch, max_tokens)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.splits:
                    raise UserError(OUT_OF_MEMORY_SPLIT.format(tokens=self.micro_batch_tokens)) from error
            # Outside the except clause, nothing references the tensors of a failed attempt.
            if not self.world.any(sums is None):
                return _total(self.world.gather(sums or {}))
            if self.micro_batch_tokens <= smallest:
                raise UserError(OUT_OF_MEMORY.format(tokens=smallest))
            self.micro_batch_tokens = max(smallest, min(self.micro_batch_tokens, batch.completion_BT.numel()) // 2)
            say(f"out of memory: continuing with micro_batch_tokens = {self.micro_batch_tokens} (same gradient)")
            free_memory()
            for parameter in (*self.model.parameters(), *self.master.parameters()):
                parameter.grad = None

    def _accumulate(self, batch: TrainBatch, max_tokens: int) -> dict[str, float]:
        sums = dict.fromkeys(("loss", "tokens", "kl", "entropy", "clip_ratio", "gap", "gap_max"), 0.0)
        norm = Norm(max(1, int(batch.graded_B.sum())), max(1, int(batch.trained_BT.sum())), max_tokens)
        # First of all, while no activations of the policy are held.
        start = time.monotonic()
        ref_logp_BT, idle_passes = None, self._missing_passes(batch)
        if self.reference is not None:
            ref_logp_BT = self._reference_logprobs(batch, self.reference, idle_passes)
        self.seconds_in_reference = time.monotonic() - start
        for prompts, micro_batches_ in self._split(batch):
            shared = self._prompts(self.model, batch, prompts)
            leaves = shared.as_leaves()
            for distinct_U, prompt_U in micro_batches_:
                self._backward_rows(batch, distinct_U, prompt_U, leaves, ref_logp_BT, norm, sums)
            pairs = zip(shared.tensors, leaves.tensors, strict=True)
            outputs = [(x, leaf.grad) for x, leaf in pairs if leaf.grad is not None]
            torch.autograd.backward([x for x, _ in outputs], [grad for _, grad in outputs])
        for _ in range(idle_passes):
            idle_pass(self.model)
        return sums

    def _prompts(self, model: Policy, batch: TrainBatch, prompts: Tensor) -> Prompts:
        """Return some prompts. With `splits`, they are computed with their completions, in one pass."""
        prompt_PL, mask_PL = batch.prompt_PL[prompts], batch.prompt_mask_PL[prompts]
        return PromptTokens(prompt_PL, mask_PL) if self.splits else model.prompts(prompt_PL, mask_PL)

    def _missing_passes(self, batch: TrainBatch) -> int:
        """Return how many passes less than some other rank this one has, if they must have equally many."""
        if not self.splits:
            return 0
        passes = sum(len(micro_batches_) for _, micro_batches_ in self._split(batch))
        return max(self.world.gather(passes)) - passes

    def _split(self, batch: TrainBatch) -> Iterator[tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
        """Yield blocks of prompts, each with its micro-batches: distinct rows [U], and their prompts in the block."""
        group = len(batch.advantages_B) // len(batch.prompt_PL)
        lengths_B = batch.completion_mask_BT.sum(1)
        if self.splits or not self.model.config.is_native:  # rows hold their prompts
            lengths_B = lengths_B + batch.prompt_mask_PL.sum(1).repeat_interleave(group)
        skip = self.config.skip_zero_variance
        mine_B = rows_of_rank(batch, skip, self.world)
        for prompts in prompt_blocks(batch, self.micro_batch_tokens, skip, mine_B):
            rows = (prompts[:, None] * group + torch.arange(group, device=prompts.device)).flatten()
            distinct_U = rows[(batch.duplicate_of_B[rows] == rows) & mine_B[rows]]
            picked = [distinct_U[each] for each in micro_batches(lengths_B[distinct_U], self.micro_batch_tokens)]
            yield prompts, [(rows_U, torch.searchsorted(prompts, rows_U // group)) for rows_U in picked]

    @torch.no_grad()
    def _reference_logprobs(self, batch: TrainBatch, reference: nn.Module, idle_passes: int) -> Tensor:
        """Return the reference model's log-probabilities [B, T] of the distinct rows, zero elsewhere."""
        logp_BT = torch.zeros_like(batch.old_logp_BT)
        with reference_model(reference, self.model) as model:
            for prompts, micro_batches_ in self._split(batch):
                shared = self._prompts(model, batch, prompts)
                for distinct_U, prompt_U in micro_batches_:
                    rows = _Rows(batch, distinct_U)
                    states_SD, tokens_S = rows.states(model, shared, prompt_U)
                    logp_S = token_logprobs(
                        states_SD, model.head_weight, tokens_S, batch.temperature, fp32=model.fp32_head
                    )
                    logp_BT[distinct_U, : rows.mask_UT.shape[1]] = rows.padded(logp_S)
            for _ in range(idle_passes):
                idle_pass(model)
        release(reference)
        return logp_BT

    def _backward_rows(
        self,
        batch: TrainBatch,
        distinct_U: Tensor,
        prompt_U: Tensor,
        shared: Prompts,
        ref_logp_BT: Tensor | None,
        norm: Norm,
        sums: dict[str, float],
    ) -> None:
        """Backpropagate one micro-batch of U distinct rows and the B rows that equal one of them; add to `sums`."""
        rows = _Rows(batch, distinct_U)
        rows_B, source_B = (batch.duplicate_of_B[:, None] == distinct_U).nonzero(as_tuple=True)
        length = rows.mask_UT.shape[1]
        if ref_logp_BT is not None:
            ref_logp_BT = ref_logp_BT[distinct_U[source_B], :length]

        states_SD, tokens_S = rows.states(self.model, shared, prompt_U)
        logp_S, entropy_S = token_logprobs_and_entropy(
            states_SD, self.model.head_weight, tokens_S, batch.temperature, fp32=self.model.fp32_head
        )
        logp_BT, mask_BT = rows.padded(logp_S)[source_B], rows.trained_UT[source_B]
        old_logp_BT = batch.old_logp_BT[rows_B, :length]
        terms = Terms(logp_BT, old_logp_BT, ref_logp_BT, batch.advantages_B[rows_B], mask_BT)
        loss = self.objective.loss(terms, self.clip, self.kl, norm)
        torch.autograd.backward(loss)
        with torch.no_grad():
            gap_BT = (logp_BT - old_logp_BT).abs() * mask_BT
            sums["loss"] += float(loss)
            sums["tokens"] += int(mask_BT.sum())
            sums["entropy"] += float(rows.padded(entropy_S)[source_B].sum())
            for name, count in clip_counts(self.objective, terms, self.clip).items():
                sums[name] = sums.get(name, 0.0) + count
            sums["gap"] += float(gap_BT.sum())
            sums["gap_max"] = max(sums["gap_max"], float(gap_BT.max()))
            if ref_logp_BT is not None:
                sums["kl"] += float((self.kl.estimate(logp_BT, ref_logp_BT) * mask_BT).sum())

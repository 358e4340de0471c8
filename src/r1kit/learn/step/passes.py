"""The forward and backward passes of a step: as many as its batch needs to fit in memory, shared out over ranks.

    1. Compute the prompts: keys, values and last hidden states, once per prompt instead of once per completion.
    2. Compute the completions' hidden states behind those, once per distinct completion of a prompt.
    3. Evaluate a loss of all completions, and send gradients back to the detached results of step 1.
    4. Send what those accumulated back through the prompts.

Shapes: P prompts, B sequences, U distinct ones, L longest prompt, T longest completion, N tokens, S sampled ones among
them, D model width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from r1kit.config import RL
from r1kit.console import say
from r1kit.errors import UserError, is_out_of_memory
from r1kit.learn.batch import micro_batches, prompt_blocks, rows_of_rank
from r1kit.learn.sharded import idle_pass
from r1kit.learn.world import World
from r1kit.machine import free_memory
from r1kit.model.policy import Policy, Prompts
from r1kit.model.prefix import PromptTokens
from r1kit.types import TrainBatch

T = TypeVar("T")
OUT_OF_MEMORY = (
    "out of memory with one completion at a time ({tokens} tokens): lower max_completion_length, use a smaller model, "
    "or free memory and run the same command again to continue"
)
OUT_OF_MEMORY_SPLIT = (
    "out of memory with micro_batch_tokens = {tokens}, which shard_weights = true cannot lower during a step: lower it "
    "and run the same command again to continue"
)


@dataclass(frozen=True, slots=True)
class Rows:
    """A micro-batch: U distinct rows of a batch, as long as the longest of them, and the B rows that equal one."""

    tokens_UT: Tensor
    mask_UT: Tensor
    """True on tokens of completions."""
    trained_UT: Tensor
    """True on the sampled ones among them."""
    rows_B: Tensor
    """Places of the B rows in the batch."""
    source_B: Tensor
    """Which of the U rows each of them equals."""

    @classmethod
    def of(cls, batch: TrainBatch, distinct_U: Tensor) -> Rows:
        """Return some distinct rows of a batch, and those that equal them."""
        length = max(1, int(batch.completion_mask_BT[distinct_U].sum(1).max()))
        rows_B, source_B = (batch.duplicate_of_B[:, None] == distinct_U).nonzero(as_tuple=True)
        tokens_UT, mask_UT = batch.completion_BT[distinct_U, :length], batch.completion_mask_BT[distinct_U, :length]
        trained_UT = mask_UT if batch.sampled_BT is None else batch.trained_BT[distinct_U, :length]
        return cls(tokens_UT, mask_UT, trained_UT, rows_B, source_B)

    def states(self, model: Policy, prompts: Prompts, prompt_U: Tensor) -> Tensor:
        """Return the hidden states [S, D] in front of the sampled tokens."""
        states_ND = prompts.completion_states(model, prompt_U, self.tokens_UT, self.mask_UT)
        return states_ND if self.trained_UT is self.mask_UT else states_ND[self.trained_UT[self.mask_UT]]

    @property
    def targets_S(self) -> Tensor:
        """The sampled tokens of the distinct rows."""
        return self.tokens_UT[self.trained_UT]

    @property
    def trained_BT(self) -> Tensor:
        """True on sampled tokens."""
        return self.trained_UT[self.source_B]

    def take(self, x_BT: Tensor) -> Tensor:
        """Return these rows of a tensor of all sequences of the batch."""
        return x_BT[self.rows_B, : self.mask_UT.shape[1]]

    def padded(self, x_S: Tensor) -> Tensor:
        """Return x as [U, T], zero except at sampled tokens."""
        return x_S.new_zeros(self.trained_UT.shape).masked_scatter(self.trained_UT, x_S)

    def spread(self, x_S: Tensor) -> Tensor:
        """Return what sampled tokens of the distinct rows have as [B, T], zero elsewhere."""
        return self.padded(x_S)[self.source_B]


class Passes:
    """The passes of all models that a step trains or asks, in the same micro-batches.

    With `splits`, weights are in shares (`learn.sharded`): every rank has equally many passes, and a row holds its
    prompt.
    """

    def __init__(self, config: RL, world: World) -> None:
        self.world, self.splits = world, config.shard_weights and world.size > 1
        self.skip_zero_variance = config.skip_zero_variance
        self.micro_batch_tokens = config.micro_batch_tokens  # halved when it does not fit in memory

    def fitting(self, compute: Callable[[], T], batch: TrainBatch, models: Sequence[nn.Module]) -> T:
        """Return what `compute` does with passes over a batch.

        When memory runs out on any rank, all halve the micro-batch permanently, clear the gradients of `models` and
        compute from the start: how a step is split does not change its gradient.
        """
        smallest = max(batch.prompt_PL.shape[1], batch.completion_BT.shape[1])  # one row at a time
        while True:
            results: list[T] = []
            try:
                results.append(compute())
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.splits:
                    raise UserError(OUT_OF_MEMORY_SPLIT.format(tokens=self.micro_batch_tokens)) from error
            # Outside the except clause, nothing references the tensors of a failed attempt.
            if not self.world.any(not results):
                return results[0]
            if self.micro_batch_tokens <= smallest:
                raise UserError(OUT_OF_MEMORY.format(tokens=smallest))
            self.micro_batch_tokens = max(smallest, min(self.micro_batch_tokens, batch.completion_BT.numel()) // 2)
            say(f"out of memory: continuing with micro_batch_tokens = {self.micro_batch_tokens} (same gradient)")
            free_memory()
            for model in models:
                model.zero_grad()

    def total(self, sums: dict[str, float]) -> dict[str, float]:
        """Return the sums over all ranks; of `gap_max`, the largest."""
        of_ranks = self.world.gather(sums)
        return {
            name: (max if name == "gap_max" else sum)(each.get(name, 0.0) for each in of_ranks)
            for name in dict.fromkeys(name for each in of_ranks for name in each)
        }

    @torch.no_grad()
    def forward(self, model: Policy, batch: TrainBatch, read: Callable[[Tensor, Rows], Tensor]) -> Tensor:
        """Return what `read` makes of hidden states [S, D], as [B, T]: of this rank's rows, zero elsewhere."""
        result_BT, idle_passes = torch.zeros_like(batch.old_logp_BT), self._missing_passes(model, batch)
        for prompts, picked in self._split(model, batch):
            shared = self._prompts(model, batch, prompts)
            for distinct_U, prompt_U in picked:
                rows = Rows.of(batch, distinct_U)
                result_S = read(rows.states(model, shared, prompt_U), rows)
                result_BT[distinct_U, : rows.mask_UT.shape[1]] = rows.padded(result_S)
        for _ in range(idle_passes):
            idle_pass(model)
        return result_BT[batch.duplicate_of_B]

    def backward(self, model: Policy, batch: TrainBatch, loss: Callable[[Tensor, Rows], Tensor]) -> None:
        """Add the gradient of `loss`, a function of hidden states [S, D], summed over the rows of this rank."""
        idle_passes = self._missing_passes(model, batch)
        for prompts, picked in self._split(model, batch):
            shared = self._prompts(model, batch, prompts)
            leaves = shared.as_leaves()
            for distinct_U, prompt_U in picked:
                rows = Rows.of(batch, distinct_U)
                # Nothing keeps the states: the next micro-batch needs their memory.
                torch.autograd.backward(loss(rows.states(model, leaves, prompt_U), rows))
            pairs = zip(shared.tensors, leaves.tensors, strict=True)
            outputs = [(x, leaf.grad) for x, leaf in pairs if leaf.grad is not None]
            torch.autograd.backward([x for x, _ in outputs], [grad for _, grad in outputs])
        for _ in range(idle_passes):
            idle_pass(model)

    def _prompts(self, model: Policy, batch: TrainBatch, prompts: Tensor) -> Prompts:
        """Return some prompts. With `splits`, they are computed with their completions, in one pass."""
        prompt_PL, mask_PL = batch.prompt_PL[prompts], batch.prompt_mask_PL[prompts]
        return PromptTokens(prompt_PL, mask_PL) if self.splits else model.prompts(prompt_PL, mask_PL)

    def _missing_passes(self, model: Policy, batch: TrainBatch) -> int:
        """Return how many passes less than some other rank this one has, if all must have equally many."""
        if not self.splits:
            return 0
        passes = sum(len(picked) for _, picked in self._split(model, batch))
        return max(self.world.gather(passes)) - passes

    def _split(self, model: Policy, batch: TrainBatch) -> Iterator[tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
        """Yield blocks of prompts, each with its micro-batches: distinct rows [U], and their prompts in the block."""
        group = len(batch.advantages_B) // len(batch.prompt_PL)
        lengths_B = batch.completion_mask_BT.sum(1)
        if self.splits or not model.config.is_native:  # rows hold their prompts
            lengths_B = lengths_B + batch.prompt_mask_PL.sum(1).repeat_interleave(group)
        mine_B = rows_of_rank(batch, self.skip_zero_variance, self.world)
        for prompts in prompt_blocks(batch, self.micro_batch_tokens, self.skip_zero_variance, mine_B):
            rows = (prompts[:, None] * group + torch.arange(group, device=prompts.device)).flatten()
            distinct_U = rows[(batch.duplicate_of_B[rows] == rows) & mine_B[rows]]
            picked = [distinct_U[each] for each in micro_batches(lengths_B[distinct_U], self.micro_batch_tokens)]
            yield prompts, [(rows_U, torch.searchsorted(prompts, rows_U // group)) for rows_U in picked]

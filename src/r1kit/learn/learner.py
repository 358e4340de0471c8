"""One GRPO update: log-probabilities with shared prompts, the objective, gradients, AdamW.

    prompts  ->  keys, values, last hidden state      once per prompt, not once per completion
                        |
    completions attend to them  ->  logp              once per distinct answer
                        |
    objective, over all answers  ->  gradients of completions and of what prompts gave
                        |
    those flow back through the prompts' own pass

Shapes: P prompts, B sequences, U of them that differ, L longest prompt, T longest completion, N tokens, D model width.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from r1kit.config import RL
from r1kit.console import say
from r1kit.errors import UserError
from r1kit.learn.batch import micro_batches, prompt_blocks
from r1kit.learn.logprobs import token_logprobs, token_logprobs_and_entropy
from r1kit.learn.loss import OBJECTIVES, SEQUENCE_RATIOS, Clip, Norm, Terms, is_clipped, k3, token_ratio
from r1kit.learn.memory import free_memory, is_out_of_memory
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.learn.precision import copy_weights, master_of
from r1kit.model.attention import AfterPrefix
from r1kit.model.decoder import Decoder
from r1kit.model.prefix import Prefix
from r1kit.types import TrainBatch

TOO_LARGE = (
    "out of memory with a single answer at a time ({tokens} tokens): lower max_completion_length, use a smaller model, "
    "or free memory and run the same command again to go on"
)


def completion_states(model: Decoder, prefix: Prefix, prompt_B: Tensor, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Hidden states [N, D] that predict the N tokens inside the mask, each completion given its prompt."""
    length = tokens_BT.shape[1]
    hidden_BTD = prefix.last_hidden_PD[prompt_B][:, None]
    if length > 1:
        keys, values = ([_rows(x, prompt_B) for x in xs] for xs in (prefix.keys, prefix.values))
        prompt_mask_BL = prefix.mask_PL[prompt_B]
        positions_BT = prompt_mask_BL.sum(1, keepdim=True) + torch.arange(length - 1, device=tokens_BT.device)
        attend = AfterPrefix(keys, values, prompt_mask_BL, length - 1)
        hidden_BTD = torch.cat((hidden_BTD, model(tokens_BT[:, :-1], positions_BT, attend)), dim=1)
    return hidden_BTD[mask_BT]


def _rows(x_PKLE: Tensor, prompt_B: Tensor) -> Tensor:
    """Each completion's copy of its prompt's. Flat, so that gradients are added up in long runs."""
    return x_PKLE.flatten(1).index_select(0, prompt_B).unflatten(1, x_PKLE.shape[1:])


class Learner:
    """Policy, reference and optimizer. `step` is one policy update. `model` computes, `master` learns."""

    def __init__(self, model: Decoder, config: RL):
        self.model, self.config = model, config
        self.master = master_of(model)
        self.optimizer = make_optimizer(self.master, config)
        self.reference = copy.deepcopy(model).requires_grad_(False) if config.beta > 0 else None
        self.micro_batch_tokens = config.micro_batch_tokens  # halved when it does not fit in memory
        self.clip = Clip(config.epsilon, config.epsilon_high or config.epsilon)
        self.objective = OBJECTIVES[config.objective]
        self.ratio = SEQUENCE_RATIOS.get(config.objective, token_ratio)

    def step(self, batch: TrainBatch, step: int) -> dict[str, float]:
        """Update the policy on one batch; metrics under TRL's names. A gradient that is not finite is dropped."""
        sums = self.backward(batch, self.config.completion_cap(step))
        rate = learning_rate(self.config, step, self.config.steps)
        grad_norm = update(self.master, self.optimizer, rate, self.config.max_grad_norm)
        self.follow_master()
        refresh = self.config.ref_refresh_steps
        if self.reference is not None and refresh and (step + 1) % refresh == 0:
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
            "clip_ratio": sums["clipped"] / tokens,
            "sampling/logp_difference_mean": sums["gap"] / tokens,
            "sampling/logp_difference_max": sums["gap_max"],
            **({"micro_batch_tokens": self.micro_batch_tokens} if halved else {}),
        }

    def follow_master(self) -> None:
        """Round the master weights to what computes."""
        copy_weights(self.master, self.model)

    def refresh_reference(self) -> None:
        """pi_ref <- pi_theta (paper: every 400 steps)."""
        copy_weights(self.model, self.reference)

    def backward(self, batch: TrainBatch, max_tokens: int) -> dict[str, float]:
        """Accumulate the step's gradient; returns sums over tokens of what `step` reports.

        When memory runs out the micro-batch is halved, for good, and the step's gradient begun anew: how the work is
        cut does not change it.
        """
        smallest = max(batch.prompt_PL.shape[1], batch.completion_BT.shape[1])  # one row at a time
        while True:
            try:
                return self._accumulate(batch, max_tokens)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.micro_batch_tokens <= smallest:
                    raise UserError(TOO_LARGE.format(tokens=smallest)) from error
            # Past the except clause: the failed attempt's tensors are held by nothing any more.
            self.micro_batch_tokens = max(smallest, min(self.micro_batch_tokens, batch.completion_BT.numel()) // 2)
            say(f"out of memory: going on with {self.micro_batch_tokens} micro_batch_tokens; the gradient is the same")
            free_memory()
            for parameter in (*self.model.parameters(), *self.master.parameters()):
                parameter.grad = None

    def _accumulate(self, batch: TrainBatch, max_tokens: int) -> dict[str, float]:
        sums = dict.fromkeys(("loss", "tokens", "kl", "entropy", "clipped", "gap", "gap_max"), 0.0)
        norm = Norm(max(1, int(batch.graded_B.sum())), max(1, int(batch.completion_mask_BT.sum())), max_tokens)
        group = len(batch.advantages_B) // len(batch.prompt_PL)
        lengths_B = batch.completion_mask_BT.sum(1)
        for prompts in prompt_blocks(batch, self.micro_batch_tokens, self.config.skip_zero_variance):
            prompt_PL, mask_PL = batch.prompt_PL[prompts], batch.prompt_mask_PL[prompts]
            prefix = Prefix.of(self.model, prompt_PL, mask_PL)
            leaves = prefix.as_leaves()
            with torch.no_grad():
                frozen = Prefix.of(self.reference, prompt_PL, mask_PL) if self.reference else None
            rows = (prompts[:, None] * group + torch.arange(group, device=prompts.device)).flatten()
            once_U = rows[batch.twin_B[rows] == rows]
            for picked in micro_batches(lengths_B[once_U], self.micro_batch_tokens):
                prompt_U = torch.searchsorted(prompts, once_U[picked] // group)
                self._backward_rows(batch, once_U[picked], prompt_U, leaves, frozen, norm, sums)
            given = [
                (x, leaf.grad) for x, leaf in zip(prefix.tensors, leaves.tensors, strict=True) if leaf.grad is not None
            ]
            torch.autograd.backward([x for x, _ in given], [grad for _, grad in given])
        return sums

    def _backward_rows(
        self,
        batch: TrainBatch,
        once_U: Tensor,
        prompt_U: Tensor,
        prefix: Prefix,
        frozen: Prefix | None,
        norm: Norm,
        sums: dict[str, float],
    ) -> None:
        """One micro-batch of U rows and all B that are twins of one of them: gradients, and sums added to `sums`."""
        length = max(1, int(batch.completion_mask_BT[once_U].sum(1).max()))
        tokens_UT, mask_UT = batch.completion_BT[once_U, :length], batch.completion_mask_BT[once_U, :length]
        rows_B, copy_B = (batch.twin_B[:, None] == once_U).nonzero(as_tuple=True)

        def to_rows(x_N: Tensor) -> Tensor:
            """[B, T], zero outside the mask"""
            return x_N.new_zeros(mask_UT.shape).masked_scatter(mask_UT, x_N)[copy_B]

        targets_N, ref_logp_BT = tokens_UT[mask_UT], None
        if frozen is not None:  # before the policy, whose activations stay
            with torch.no_grad():
                states_ND = completion_states(self.reference, frozen, prompt_U, tokens_UT, mask_UT)
                ref_logp_N = token_logprobs(states_ND, self.reference.head_weight, targets_N, batch.temperature)
            ref_logp_BT = to_rows(ref_logp_N)
        states_ND = completion_states(self.model, prefix, prompt_U, tokens_UT, mask_UT)
        logp_N, entropy_N = token_logprobs_and_entropy(states_ND, self.model.head_weight, targets_N, batch.temperature)
        logp_BT, old_logp_BT, mask_BT = to_rows(logp_N), batch.old_logp_BT[rows_B, :length], mask_UT[copy_B]
        terms = Terms(logp_BT, old_logp_BT, ref_logp_BT, batch.advantages_B[rows_B], mask_BT)
        loss = self.objective(terms, self.clip, self.config.beta, norm)
        loss.backward()
        with torch.no_grad():
            gap_BT = (logp_BT - old_logp_BT).abs() * mask_BT
            sums["loss"] += float(loss)
            sums["tokens"] += int(mask_BT.sum())
            sums["entropy"] += float(to_rows(entropy_N).sum())
            clipped = is_clipped(self.ratio(terms), terms.advantages_B[:, None], self.clip)
            sums["clipped"] += float((clipped & mask_BT).sum())
            sums["gap"] += float(gap_BT.sum())
            sums["gap_max"] = max(sums["gap_max"], float(gap_BT.max()))
            if ref_logp_BT is not None:
                sums["kl"] += float((k3(logp_BT, ref_logp_BT) * mask_BT).sum())

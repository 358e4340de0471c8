"""Prompts computed once for all the completions that continue them, in generation and in training.

Shapes: P prompts, L padded prompt length, K key-value heads, E head width, D model width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from r1kit.model.attention import PrefixAttention, RecordingAttention

Model = Callable[..., Tensor]  # a `model.decoder.Decoder`: tokens, positions, attention -> hidden states
MIN_SAVED_TOKENS = 256  # a separate pass over a common prefix pays when it saves at least this many tokens


@dataclass(frozen=True, slots=True)
class PromptCache:
    """What completions need of their prompts: keys and values of every layer, and the last hidden state."""

    keys: list[Tensor]  # per layer [P, K, L, E]
    values: list[Tensor]
    last_hidden_PD: Tensor
    mask_PL: Tensor

    @classmethod
    def compute(cls, model: Model, prompt_PL: Tensor, mask_PL: Tensor) -> PromptCache:
        """Run the prompts through the model. A template that all of them begin with is computed once."""
        common = _common_length(prompt_PL, mask_PL)
        if not common:
            return cls.compute_after(None, model, prompt_PL, mask_PL)
        template = prefill(model, prompt_PL[0, :common])
        rest = cls.compute_after(template, model, prompt_PL[:, common:], mask_PL[:, common:])
        keys, values = _joined(template.keys, rest.keys), _joined(template.values, rest.values)
        return cls(keys, values, rest.last_hidden_PD, mask_PL)

    @classmethod
    def compute_after(
        cls, template: RecordingAttention | None, model: Model, rest_PL: Tensor, mask_PL: Tensor
    ) -> PromptCache:
        """Run the rest of the prompts behind an already computed template; the result holds the rest alone."""
        (prompts, tokens), start, attend = rest_PL.shape, 0, RecordingAttention()
        if template is not None:
            keys, values = ([x.expand(prompts, -1, -1, -1) for x in xs] for xs in (template.keys, template.values))
            start = keys[0].shape[2]
            attend = RecordingAttention(PrefixAttention(keys, values, mask_PL.new_ones(prompts, start), tokens))
        positions_PL = torch.arange(start, start + tokens, device=rest_PL.device).expand_as(rest_PL)
        hidden_PLD = model(rest_PL, positions_PL, attend)
        last_hidden_PD = hidden_PLD[torch.arange(prompts, device=rest_PL.device), mask_PL.sum(1) - 1]
        return cls(attend.keys, attend.values, last_hidden_PD, mask_PL)

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor that carries a gradient."""
        return [*self.keys, *self.values, self.last_hidden_PD]

    def as_leaves(self) -> PromptCache:
        """Return a copy detached from the graph, whose tensors accumulate the gradients of many micro-batches."""
        keys, values = ([x.detach().requires_grad_() for x in xs] for xs in (self.keys, self.values))
        return PromptCache(keys, values, self.last_hidden_PD.detach().requires_grad_(), self.mask_PL)

    def completion_states(self, model: Model, prompt_B: Tensor, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """See `model.policy.Prompts.completion_states`."""
        length = tokens_BT.shape[1]
        hidden_BTD = self.last_hidden_PD[prompt_B][:, None]
        if length > 1:
            keys, values = ([_take(x, prompt_B) for x in xs] for xs in (self.keys, self.values))
            prompt_mask_BL = self.mask_PL[prompt_B]
            positions_BT = prompt_mask_BL.sum(1, keepdim=True) + torch.arange(length - 1, device=tokens_BT.device)
            attend = PrefixAttention(keys, values, prompt_mask_BL, length - 1)
            hidden_BTD = torch.cat((hidden_BTD, model(tokens_BT[:, :-1], positions_BT, attend)), dim=1)
        return hidden_BTD[mask_BT]


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Prompts that are computed again with every completion."""

    tokens_PL: Tensor
    mask_PL: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """Nothing is computed in advance."""
        return []

    def as_leaves(self) -> PromptTokens:
        """Return the prompts themselves: they carry no gradient."""
        return self

    def completion_states(self, model: Model, prompt_B: Tensor, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """See `model.policy.Prompts.completion_states`."""
        lengths_B1 = self.mask_PL[prompt_B].sum(1, keepdim=True)
        places_BT = lengths_B1 + torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        rows_BS = tokens_BT.new_zeros(len(tokens_BT), self.tokens_PL.shape[1] + tokens_BT.shape[1])
        rows_BS[:, : self.tokens_PL.shape[1]] = self.tokens_PL[prompt_B]
        rows_BS.scatter_(1, places_BT, tokens_BT)
        longest = int((lengths_B1[:, 0] + mask_BT.sum(1)).max()) - 1  # the last token of a row predicts nothing
        hidden_BSD = model(rows_BS[:, : max(1, longest)])
        row_N, _ = mask_BT.nonzero(as_tuple=True)
        states_ND: Tensor = hidden_BSD[row_N, places_BT[mask_BT] - 1]
        return states_ND


def prefill(model: Model, tokens_T: Tensor) -> RecordingAttention:
    """Compute the keys and values of one token sequence, per layer [1, K, T, E]."""
    recording = RecordingAttention()
    model(tokens_T[None], attend=recording)
    return recording


def _take(x_PKLE: Tensor, prompt_B: Tensor) -> Tensor:
    """Return [B, K, L, E]: each completion's copy of its prompt. Flat, so that gradients are summed in long runs."""
    return torch.unflatten(x_PKLE.flatten(1).index_select(0, prompt_B), 1, x_PKLE.shape[1:])


def _joined(template: list[Tensor], rest: list[Tensor]) -> list[Tensor]:
    return [torch.cat((x.expand(len(y), -1, -1, -1), y), dim=2) for x, y in zip(template, rest, strict=True)]


def _common_length(prompt_PL: Tensor, mask_PL: Tensor) -> int:
    """Return how many leading tokens to compute once: 0 where that does not pay. Every prompt keeps its last token."""
    equal_L = ((prompt_PL == prompt_PL[0]) & mask_PL).all(0).long().cumprod(0)
    common = min(int(equal_L.sum()), int(mask_PL.sum(1).min()) - 1)
    return common if common * (len(prompt_PL) - 1) >= MIN_SAVED_TOKENS else 0

"""What many completions need of the prompts they continue, in generation and in training: computed once.

Shapes: P prompts, L padded prompt length, K key-value heads, E head width, D model width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from r1kit.model.attention import AfterPrefix, Recorded
from r1kit.model.decoder import Decoder

WORTH_SHARING = 256  # tokens that need not be computed: fewer cost no more than another pass


@dataclass(frozen=True, slots=True)
class Prefix:
    """What completions need of their prompts: every layer's keys and values, and the last hidden state."""

    keys: list[Tensor]  # per layer [P, K, L, E]
    values: list[Tensor]
    last_hidden_PD: Tensor
    mask_PL: Tensor

    @classmethod
    def of(cls, model: Decoder, prompt_PL: Tensor, mask_PL: Tensor) -> Prefix:
        """What all prompts begin with, their template, is computed once."""
        shared, rows_P = _shared_length(prompt_PL, mask_PL), torch.arange(len(prompt_PL), device=prompt_PL.device)
        rest_PL, rest = prompt_PL[:, shared:], Recorded()
        if shared:
            template = Recorded()
            model(prompt_PL[:1, :shared], attend=template)
            began_k, began_v = (
                [x.expand(len(rows_P), -1, -1, -1) for x in xs] for xs in (template.keys, template.values)
            )
            rest = Recorded(AfterPrefix(began_k, began_v, mask_PL[:, :shared], rest_PL.shape[1]))
        positions_PL = torch.arange(shared, prompt_PL.shape[1], device=rows_P.device).expand_as(rest_PL)
        hidden_PLD = model(rest_PL, positions_PL, rest)
        keys, values = rest.keys, rest.values
        if shared:
            keys, values = _joined(began_k, keys), _joined(began_v, values)
        return cls(keys, values, hidden_PLD[rows_P, mask_PL.sum(1) - 1 - shared], mask_PL)

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.keys, *self.values, self.last_hidden_PD]

    def as_leaves(self) -> Prefix:
        """The same values cut from the graph, collecting the gradients of many micro-batches."""
        keys, values = ([x.detach().requires_grad_() for x in xs] for xs in (self.keys, self.values))
        return Prefix(keys, values, self.last_hidden_PD.detach().requires_grad_(), self.mask_PL)


def _joined(began: list[Tensor], rest: list[Tensor]) -> list[Tensor]:
    return [torch.cat(parts, dim=2) for parts in zip(began, rest, strict=True)]


def _shared_length(prompt_PL: Tensor, mask_PL: Tensor) -> int:
    """How many tokens all prompts begin with, where computing them once is worth a pass; each keeps one of its own."""
    begins_alike_L = ((prompt_PL == prompt_PL[0]) & mask_PL).all(0).long().cumprod(0)
    shared = min(int(begins_alike_L.sum()), int(mask_PL.sum(1).min()) - 1)
    return shared if shared * (len(prompt_PL) - 1) >= WORTH_SHARING else 0

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
        shared = _shared_length(prompt_PL, mask_PL)
        if not shared:
            return cls.after(None, model, prompt_PL, mask_PL)
        template = recorded(model, prompt_PL[0, :shared])
        rest = cls.after(template, model, prompt_PL[:, shared:], mask_PL[:, shared:])
        keys, values = _joined(template.keys, rest.keys), _joined(template.values, rest.values)
        return cls(keys, values, rest.last_hidden_PD, mask_PL)

    @classmethod
    def after(cls, template: Recorded | None, model: Decoder, rest_PL: Tensor, mask_PL: Tensor) -> Prefix:
        """Of what comes behind the template alone."""
        (prompts, tokens), began, attend = rest_PL.shape, 0, Recorded()
        if template is not None:
            keys, values = ([x.expand(prompts, -1, -1, -1) for x in xs] for xs in (template.keys, template.values))
            began = keys[0].shape[2]
            attend = Recorded(AfterPrefix(keys, values, mask_PL.new_ones(prompts, began), tokens))
        positions_PL = torch.arange(began, began + tokens, device=rest_PL.device).expand_as(rest_PL)
        hidden_PLD = model(rest_PL, positions_PL, attend)
        last_hidden_PD = hidden_PLD[torch.arange(prompts, device=rest_PL.device), mask_PL.sum(1) - 1]
        return cls(attend.keys, attend.values, last_hidden_PD, mask_PL)

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.keys, *self.values, self.last_hidden_PD]

    def as_leaves(self) -> Prefix:
        """The same values cut from the graph, collecting the gradients of many micro-batches."""
        keys, values = ([x.detach().requires_grad_() for x in xs] for xs in (self.keys, self.values))
        return Prefix(keys, values, self.last_hidden_PD.detach().requires_grad_(), self.mask_PL)


def recorded(model: Decoder, template_T: Tensor) -> Recorded:
    """The keys and values of what prompts begin with, per layer [1, K, T, E]."""
    record = Recorded()
    model(template_T[None], attend=record)
    return record


def _joined(began: list[Tensor], rest: list[Tensor]) -> list[Tensor]:
    return [torch.cat((x.expand(len(y), -1, -1, -1), y), dim=2) for x, y in zip(began, rest, strict=True)]


def _shared_length(prompt_PL: Tensor, mask_PL: Tensor) -> int:
    """How many tokens all prompts begin with, where computing them once is worth a pass; each keeps one of its own."""
    begins_alike_L = ((prompt_PL == prompt_PL[0]) & mask_PL).all(0).long().cumprod(0)
    shared = min(int(begins_alike_L.sum()), int(mask_PL.sum(1).min()) - 1)
    return shared if shared * (len(prompt_PL) - 1) >= WORTH_SHARING else 0

"""The decode loop that all engines share which compute tokens themselves.

Shapes: R completions, N distributions, D model width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Drawn(NamedTuple):
    """One token of every completion."""

    token_R: Tensor
    logp_R: Tensor
    ends_R: Tensor  # whether the completion ends with it


# Called with the logits, and the tokens of every completion so far as its batch counts them.
Draw = Callable[[Tensor, Tensor], Drawn]


class Decodable(Protocol):
    """Completions that are decoded together."""

    hidden_ND: Tensor
    done_R: Tensor

    @property
    def lengths_R(self) -> Tensor:
        """Tokens of every completion."""
        ...

    def advance(self, model: Any, token_R: Tensor) -> None:
        """Compute the hidden states behind these tokens."""
        ...


@dataclass(slots=True)
class Block:
    """The tokens of a few decode steps, on the device."""

    tokens: list[Tensor] = field(default_factory=list)
    logprobs: list[Tensor] = field(default_factory=list)
    live: list[Tensor] = field(default_factory=list)  # which completions had not ended before

    def rows(self) -> list[tuple[list[int], list[float]]]:
        """Move the tokens to the CPU together. Return those of every completion, and their log-probabilities."""
        counts = torch.stack(self.live, dim=1).sum(1).tolist()
        sampled = (torch.stack(self.tokens, 1).tolist(), torch.stack(self.logprobs, 1).tolist())
        return [(tokens[:n], logprobs[:n]) for tokens, logprobs, n in zip(*sampled, counts, strict=True)]


def decode_block(model: Any, batch: Decodable, steps: int, draw: Draw) -> Block:
    """Sample up to `steps` tokens of every completion. Those that end become done."""
    block = Block()
    for _ in range(steps):
        token_R, logp_R, ends_R = draw(model.logits(batch.hidden_ND), batch.lengths_R)
        block.tokens.append(token_R)
        block.logprobs.append(logp_R)
        block.live.append(~batch.done_R)
        batch.done_R = batch.done_R | ends_R
        if bool(batch.done_R.all()):
            break
        batch.advance(model, token_R)
    return block

"""What training, generation and saving need of a causal language model.

`model.decoder.Decoder` computes the families of `model.families` itself. `model.generic.GenericDecoder` runs any other
causal language model through transformers.

Shapes: B rows, T tokens, D model width, V vocabulary, P prompts, L padded prompt length, N tokens inside a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from r1kit.model.config import ModelConfig
from r1kit.model.layers import project

LABELS = {"id2label": {"0": "score"}, "label2id": {"score": 0}}  # one label: transformers' num_labels
SETTINGS = "r1kit_reward"  # the key of config.json that holds the template and the part of a response that is scored


class Prompts(Protocol):
    """Prompts, and as much of their computation as completions share."""

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor that carries a gradient."""

    def as_leaves(self) -> Prompts:
        """Return a copy detached from the graph, whose tensors accumulate the gradients of many micro-batches."""

    def completion_states(self, model: Policy, prompt_B: Tensor, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Return the hidden states [N, D] that predict the N tokens inside the mask, behind each row's prompt."""


class Policy(nn.Module):
    """A causal language model. `forward` returns hidden states; logits are these times `head_weight`."""

    config: ModelConfig
    recompute: bool
    """Whether the backward pass computes activations inside blocks again: a third more time for far less memory."""
    fp32_head: bool
    """Whether logits are computed in fp32 where weights are bfloat16; sampling and learning must agree."""
    one_pass = False
    """Whether `packed` must compute all documents in one pass, even if that pads them more."""

    @property
    def head_weight(self) -> Tensor:
        """The output matrix [V, D]; the input embedding when the two are tied."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        raise NotImplementedError

    @property
    def adapted_layers(self) -> tuple[str, ...]:
        """Ends of the names of the linear layers that LoRA adapts: those of all blocks."""
        raise NotImplementedError

    @property
    def layers(self) -> Sequence[nn.Module]:
        """The blocks, in the order of computation."""
        raise NotImplementedError

    def packed(self, tokens_T: Tensor, positions_T: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return hidden states [T, D] of documents one after another. No document attends to another."""
        raise NotImplementedError

    def prompts(self, prompt_PL: Tensor, mask_PL: Tensor) -> Prompts:
        """Return prompts that completions are to continue, padded on the right."""
        raise NotImplementedError


class RewardModel(Policy):
    """A model with a scalar head instead of an output matrix. A document's score is read at its last token.

    As the critic of PPO, it gives a value at every token.

    transformers reads the score at the last token that is not padding. Documents therefore end in their own last
    token and not in an end-of-text token, which may also be the padding token.
    """

    score: nn.Module
    settings: dict[str, Any]
    """JSON values; see `stages.preference`."""

    def scores(self, hidden_TD: Tensor, last_N: Tensor) -> Tensor:
        """Return scores [N] in fp32, given a row's hidden states and the position of every document's last token."""
        return self.values(hidden_TD[last_N])

    def values(self, hidden_ND: Tensor) -> Tensor:
        """Return what the head makes of hidden states: [N] in fp32."""
        weight_1D = cast(Tensor, self.score.weight)
        exact_ND = hidden_ND.float() if weight_1D.dtype == torch.float32 else hidden_ND
        return project(exact_ND, weight_1D, self.fp32_head).squeeze(-1).float()

    def hugging_face_keys(self) -> dict[str, object]:
        """Return the keys of config.json beyond the model's shape."""
        return {**LABELS, SETTINGS: self.settings}

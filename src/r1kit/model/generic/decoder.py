"""A causal language model of transformers as a policy.

Documents and completions are rows of a batch, padded on the right: a causal model needs no mask for that, whatever its
attention. Nothing is shared between the completions of a prompt, unlike in `model.decoder`.

Shapes: B rows, T tokens, S tokens of a prompt and its completion, D model width, L padded prompt length, N tokens
inside a mask, R rows in generation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from r1kit.errors import UserError
from r1kit.model.generic.shape import GenericConfig
from r1kit.model.layers import project
from r1kit.model.packed import similar_lengths
from r1kit.model.policy import Policy, Prompts
from r1kit.model.prefix import PromptTokens


class GenericDecoder(Policy):
    """A model of transformers. Its weights keep the names and the layout that transformers gives them."""

    config: GenericConfig
    lm: Any  # a PreTrainedModel, whose methods have no types

    def __init__(self, lm: PreTrainedModel, config: GenericConfig) -> None:
        super().__init__()
        self.lm = lm
        self.lm.eval()
        self.config, self.fp32_head = config, True
        self._recompute = False
        self._checkpointed: list[nn.Module] = []
        if lm.supports_gradient_checkpointing:
            lm.gradient_checkpointing_enable({"use_reentrant": False})
            self._checkpointed = [m for m in self.body.modules() if isinstance(m, GradientCheckpointingLayer)]

    @property
    def body(self) -> nn.Module:
        """The model without its head."""
        return cast(nn.Module, self.lm.get_decoder())

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return hidden states [B, T, D] after the last norm. Rows may be padded on the right."""
        self.check_length(tokens_BT.shape[1])
        self._set_checkpointing(self.recompute and torch.is_grad_enabled())
        hidden_BTD: Tensor = self.body(input_ids=tokens_BT, use_cache=False).last_hidden_state
        return hidden_BTD

    def decode(self, tokens_RT: Tensor, mask_RS: Tensor, cache: Cache) -> Tensor:
        """Return the last hidden state [R, D] of rows that continue those in the cache. The cache grows.

        Rows are padded on the left: `mask_RS` is True for the tokens in the cache and in `tokens_RT` that are real.
        """
        self._set_checkpointing(False)
        positions_RT = (mask_RS.cumsum(1) - 1).clamp(min=0)[:, -tokens_RT.shape[1] :]
        inputs = {"attention_mask": mask_RS.long(), "position_ids": positions_RT, "past_key_values": cache}
        last_RD: Tensor = self.body(input_ids=tokens_RT, use_cache=True, **inputs).last_hidden_state[:, -1]
        return last_RD

    def _set_checkpointing(self, on: bool) -> None:
        """Set what transformers reads before it checkpoints a block. What is inside stays in evaluation mode."""
        for block in self._checkpointed:
            block.training = on

    def check_length(self, tokens: int) -> None:
        """Raise a UserError for more tokens than a model with learned positions has."""
        limit = self.config.max_position_embeddings
        if tokens > limit and _has_learned_positions(self.body, limit):
            raise UserError(
                f"{self.config.model_type}: {tokens:,} tokens, but the model has learned positions for {limit:,}: use "
                "shorter texts and completions, or a model with rotary positions"
            )

    @property
    def recompute(self) -> bool:
        """See `Policy.recompute`."""
        return self._recompute

    @recompute.setter
    def recompute(self, on: bool) -> None:
        if on and not self._checkpointed:
            raise UserError(
                f"recompute: {type(self.lm).__name__} of transformers cannot compute its activations again: set "
                'recompute = "off" and train on shorter texts'
            )
        self._recompute = on

    @property
    def head_weight(self) -> Tensor:
        """See `Policy.head_weight`."""
        return cast(Tensor, self.lm.get_output_embeddings().weight)

    @property
    def device(self) -> torch.device:
        """See `Policy.device`."""
        weight: Tensor = next(self.lm.parameters())
        return weight.device

    @property
    def adapted_layers(self) -> tuple[str, ...]:
        """See `Policy.adapted_layers`. Experts whose weights are one tensor are no linear layers: they stay frozen."""
        head = self.lm.get_output_embeddings()
        names = {
            name.rpartition(".")[2]
            for name, module in self.lm.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        }
        if not names:
            raise UserError(f"lora_rank: {type(self.lm).__name__} has no linear layers of torch: set lora_rank = 0")
        return tuple(sorted(names))

    @property
    def layers(self) -> Sequence[nn.Module]:
        """See `Policy.layers`: the list of modules with the most weights."""
        lists = [module for module in self.body.modules() if isinstance(module, nn.ModuleList)]
        return list(max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()), default=()))

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V], in fp32 with `fp32_head`."""
        return project(hidden, self.head_weight, self.fp32_head)

    def packed(self, tokens_T: Tensor, positions_T: Tensor, lengths: Sequence[int]) -> Tensor:
        """See `Policy.packed`. Documents of similar length form one batch."""
        places_T = torch.arange(len(tokens_T))
        documents, places = (torch.split_with_sizes(x, list(lengths)) for x in (tokens_T, places_T))
        states, order = [], []
        for group in [[*range(len(lengths))]] if self.one_pass else similar_lengths(lengths):
            rows_BT = pad_sequence([documents[i] for i in group], batch_first=True)
            hidden_BTD = self(rows_BT)
            states += [row_TD[: lengths[i]] for row_TD, i in zip(hidden_BTD, group, strict=True)]
            order += [places[i] for i in group]
        return torch.cat(states).index_select(0, torch.cat(order).argsort().to(tokens_T.device))

    def prompts(self, prompt_PL: Tensor, mask_PL: Tensor) -> Prompts:
        """See `Policy.prompts`."""
        return PromptTokens(prompt_PL, mask_PL)

    def hugging_face_keys(self) -> dict[str, object]:
        """Return keys of config.json that transformers does not write."""
        return {}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GenericDecoder:
        """Move buffers, but keep their dtype: rotary frequencies and the bias of expert routing need fp32."""
        buffers = [(m, name, x) for m in self.modules() for name, x in m._buffers.items() if x is not None]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for module, name, buffer in buffers:
            moved = module._buffers[name]
            assert moved is not None
            module._buffers[name] = buffer.to(moved.device)
        return self


def _has_learned_positions(body: nn.Module, limit: int) -> bool:
    tables = [module for module in body.modules() if isinstance(module, nn.Embedding)]
    tokens = cast(Any, body).get_input_embeddings()
    return any(0 <= table.num_embeddings - limit <= 2 for table in tables if table is not tokens)

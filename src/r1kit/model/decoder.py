"""The decoder that both trains and generates. `model.families` lists the architectures it computes.

Shapes: B rows, T tokens, D model width, H query heads, K key-value heads, E head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from r1kit.model.attention import AttentionFn, causal_attention
from r1kit.model.config import ModelConfig
from r1kit.model.layers import GatedMLP, RMSNorm, Rotary, project, split_rotated
from r1kit.model.packed import PackedAttention
from r1kit.model.policy import Policy, Prompts
from r1kit.model.prefix import PromptCache


class Attention(nn.Module):
    """Grouped-query attention. One matrix projects queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = config.head_dim
        qkv_width = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = nn.Linear(config.hidden_size, qkv_width, bias=config.family.qkv_bias)
        self.out = nn.Linear(self.heads * self.head_dim, config.hidden_size, bias=False)
        self.q_norm = self.k_norm = None
        if config.family.qk_norm:
            self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
            self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, layer: int, attend: AttentionFn) -> Tensor:
        """[B, T, D] -> [B, T, D], with the rotary angles of every token."""
        qkv = torch.unflatten(self.qkv(x_BTD), -1, (-1, self.head_dim))
        if self.q_norm is not None and self.k_norm is not None:
            q, k, v = torch.split_with_sizes(qkv, (self.heads, self.kv_heads, self.kv_heads), dim=2)
            qkv = torch.cat((self.q_norm(q), self.k_norm(k), v), dim=2)
        q, k, v = split_rotated(qkv, cos, sin, self.heads)
        mixed = attend(layer, q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        projected: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return projected


class Block(nn.Module):
    """Attention and MLP, each applied to a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, attend: AttentionFn) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cos, sin, self.layer, attend)
        mlp_BTD: Tensor = self.mlp(self.mlp_norm(x_BTD))
        return x_BTD + mlp_BTD


_checkpointed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)


class Decoder(Policy):
    """A pre-norm transformer decoder. `forward` returns hidden states; `logits` projects them to the vocabulary."""

    embed: nn.Embedding
    head: nn.Module  # absent when the embeddings are tied
    fused_steps = False  # whether decode steps are computed by `engine.fused`

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute, self.fp32_head = False, True
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.rotary = Rotary(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if not config.tie_word_embeddings:
            self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, attend: AttentionFn = causal_attention
    ) -> Tensor:
        """Return hidden states [B, T, D] after the last norm. Positions default to 0, 1, 2, ..."""
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device).expand_as(tokens_BT)
        x_BTD: Tensor = self.embed(tokens_BT)
        cos, sin = self.rotary(positions_BT, x_BTD.dtype)
        recompute = self.recompute and torch.is_grad_enabled()
        for block in self.blocks:
            inputs = (x_BTD, cos, sin, attend)
            x_BTD = _checkpointed(block, *inputs) if recompute else block(*inputs)
        normed_BTD: Tensor = self.norm(x_BTD)
        return normed_BTD

    def packed(self, tokens_T: Tensor, positions_T: Tensor, lengths: Sequence[int]) -> Tensor:
        """See `Policy.packed`."""
        hidden_1TD: Tensor = self(tokens_T[None], positions_T[None], PackedAttention(lengths, tokens_T.device))
        return hidden_1TD[0]

    def prompts(self, prompt_PL: Tensor, mask_PL: Tensor) -> Prompts:
        """Compute the prompts, once for all their completions."""
        return PromptCache.compute(self, prompt_PL, mask_PL)

    @property
    def device(self) -> torch.device:
        """See `Policy.device`."""
        return self.embed.weight.device

    @property
    def adapted_layers(self) -> tuple[str, ...]:
        """See `Policy.adapted_layers`."""
        return ("qkv", "out", "gate_up", "down")

    @property
    def layers(self) -> Sequence[nn.Module]:
        """See `Policy.layers`."""
        return list(self.blocks)

    @property
    def head_weight(self) -> Tensor:
        """See `Policy.head_weight`."""
        return self.embed.weight if self.config.tie_word_embeddings else cast(Tensor, self.head.weight)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V], in fp32 with `fp32_head`."""
        head = getattr(self, "head", None)
        if head is None or isinstance(head, nn.Linear):
            return project(hidden, self.head_weight, self.fp32_head)
        logits: Tensor = head(hidden)  # the engine's packed copy
        return logits

    def hugging_face_keys(self) -> dict[str, object]:
        """Return the keys of config.json beyond the model's shape."""
        return {}

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Draw new weights as GPT-2 does.

        Matrices are Normal(0, 0.02), those that write into the residual stream divided by sqrt(2 * layers); biases
        are zero.
        """
        generator = torch.Generator().manual_seed(seed)
        scale = 0.02 / (2 * self.config.num_hidden_layers) ** 0.5
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
                weight.copy_(torch.randn(weight.shape, generator=generator) * (scale if residual else 0.02))
            elif name.endswith("bias"):
                weight.zero_()

"""The one decoder that trains and generates: Qwen2, Qwen3 and Llama are its configurations.

Shapes: B rows, T tokens, D model width, H query heads, K key-value heads, E head width, V vocabulary.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from r1kit.model.attention import Attend, causal
from r1kit.model.config import ModelConfig
from r1kit.model.layers import GatedMLP, RMSNorm, Rotary, rotate


class Attention(nn.Module):
    """Grouped-query attention; query, key and value are one product."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        out = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.qkv = nn.Linear(config.hidden_size, out, bias=config.qkv_bias)
        self.out = nn.Linear(self.heads * self.head_dim, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps) if config.qk_norm else None

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, layer: int, attend: Attend) -> Tensor:
        qkv = self.qkv(x_BTD).unflatten(-1, (-1, self.head_dim))
        qk, v = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=2)
        if self.q_norm is not None:
            q, k = qk.split((self.heads, self.kv_heads), dim=2)
            qk = torch.cat((self.q_norm(q), self.k_norm(k)), dim=2)
        q, k = rotate(qk, cos, sin).split((self.heads, self.kv_heads), dim=2)
        mixed = attend(layer, q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and MLP, each on a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.layer = layer
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), cos, sin, self.layer, attend)
        return x_BTD + self.mlp(self.mlp_norm(x_BTD))


_recomputed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)


class Decoder(nn.Module):
    """A pre-norm transformer decoder. It ends in hidden states: whoever needs logits asks `logits`."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.recompute = False  # in the backward pass, what is inside the blocks: a third more time, far less memory
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.rotary = Rotary(config)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if not config.tie_word_embeddings:
            self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, tokens_BT: Tensor, positions_BT: Tensor | None = None, attend: Attend = causal) -> Tensor:
        """Hidden states [B, T, D] after the last norm. Positions default to 0, 1, 2, ..."""
        if positions_BT is None:
            positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device).expand_as(tokens_BT)
        x_BTD = self.embed(tokens_BT)
        cos, sin = self.rotary(positions_BT, x_BTD.dtype)
        for block in self.blocks:
            given = (x_BTD, cos, sin, attend)
            x_BTD = _recomputed(block, *given) if self.recompute else block(*given)
        return self.norm(x_BTD)

    @property
    def head_weight(self) -> Tensor:
        """The output matrix [V, D]; the input embedding when the two are tied."""
        return self.embed.weight if self.config.tie_word_embeddings else self.head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] -> [..., V]"""
        return self.head(hidden) if hasattr(self, "head") else F.linear(hidden, self.embed.weight)

    def hugging_face_keys(self) -> dict[str, object]:
        """What config.json says of this model besides its shape."""
        return {}

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Normal(0, 0.02) matrices, residual outputs scaled down by sqrt(2 * layers) (GPT-2), biases zero."""
        generator = torch.Generator().manual_seed(seed)
        scale = 0.02 / (2 * self.config.num_hidden_layers) ** 0.5
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
                weight.copy_(torch.randn(weight.shape, generator=generator) * (scale if residual else 0.02))
            elif name.endswith("bias"):
                weight.zero_()

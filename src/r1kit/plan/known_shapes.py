"""Shapes of public base models, so that recipes on them can be planned offline. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1kit.model.config import ModelConfig
from r1kit.model.generic.shape import generic_config

# hub id -> model_type, vocabulary, hidden and intermediate size, layers, query heads, key-value heads, head_dim,
#           whether embeddings are tied, positions
_SIZES = {
    "Qwen/Qwen2.5-0.5B": ("qwen2", 151_936, 896, 4864, 24, 14, 2, 64, True, 32_768),
    "Qwen/Qwen2.5-1.5B": ("qwen2", 151_936, 1536, 8960, 28, 12, 2, 128, True, 131_072),
    "Qwen/Qwen2.5-3B": ("qwen2", 151_936, 2048, 11_008, 36, 16, 2, 128, True, 32_768),
    "Qwen/Qwen2.5-7B": ("qwen2", 152_064, 3584, 18_944, 28, 28, 4, 128, False, 131_072),
    "Qwen/Qwen2.5-14B": ("qwen2", 152_064, 5120, 13_824, 48, 40, 8, 128, False, 131_072),
    "Qwen/Qwen2.5-32B": ("qwen2", 152_064, 5120, 27_648, 64, 40, 8, 128, False, 131_072),
    "Qwen/Qwen2.5-72B": ("qwen2", 152_064, 8192, 29_568, 80, 64, 8, 128, False, 131_072),
    "Qwen/Qwen2.5-Math-1.5B": ("qwen2", 151_936, 1536, 8960, 28, 12, 2, 128, True, 4096),
    "Qwen/Qwen2.5-Math-7B": ("qwen2", 152_064, 3584, 18_944, 28, 28, 4, 128, False, 4096),
    "Qwen/Qwen3-0.6B-Base": ("qwen3", 151_936, 1024, 3072, 28, 16, 8, 128, True, 32_768),
    "Qwen/Qwen3-1.7B-Base": ("qwen3", 151_936, 2048, 6144, 28, 16, 8, 128, True, 32_768),
    "Qwen/Qwen3-4B-Base": ("qwen3", 151_936, 2560, 9728, 36, 32, 8, 128, True, 32_768),
    "Qwen/Qwen3-8B-Base": ("qwen3", 151_936, 4096, 12_288, 36, 32, 8, 128, False, 32_768),
    "meta-llama/Llama-3.2-1B": ("llama", 128_256, 2048, 8192, 16, 32, 8, 64, True, 131_072),
    "meta-llama/Llama-3.2-3B": ("llama", 128_256, 3072, 8192, 28, 24, 8, 128, True, 131_072),
    "meta-llama/Llama-3.1-8B": ("llama", 128_256, 4096, 14_336, 32, 32, 8, 128, False, 131_072),
    "meta-llama/Llama-3.3-70B-Instruct": ("llama", 128_256, 8192, 28_672, 80, 64, 8, 128, False, 131_072),
}


def _shape(
    model_type: str,
    vocab: int,
    hidden: int,
    intermediate: int,
    layers: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    tied: bool,
    positions: int,
) -> ModelConfig:
    return ModelConfig(
        model_type,
        vocab,
        hidden,
        intermediate,
        layers,
        heads,
        kv_heads,
        head_dim,
        tie_word_embeddings=tied,
        max_position_embeddings=positions,
    )


_DEEPSEEK_V3: dict[str, Any] = (  # keys of config.json; without the layer for multi-token prediction
    dict(model_type="deepseek_v3", vocab_size=129_280, hidden_size=7168, intermediate_size=18_432)
    | dict(num_hidden_layers=61, num_attention_heads=128, num_key_value_heads=128, max_position_embeddings=163_840)
    | dict(q_lora_rank=1536, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128)
    | dict(n_routed_experts=256, n_shared_experts=1, num_experts_per_tok=8, moe_intermediate_size=2048)
    | dict(first_k_dense_replace=3, tie_word_embeddings=False)
)

KNOWN_SHAPES: Mapping[str, ModelConfig] = {
    **{hub_id: _shape(*sizes) for hub_id, sizes in _SIZES.items()},
    "deepseek-ai/DeepSeek-V3-Base": generic_config(_DEEPSEEK_V3.get),
}


def known_shape(hub_id: str) -> ModelConfig | None:
    """Return the shape of a public model, or of the base model it was tuned from; None when it is not known."""
    names = (hub_id, f"{hub_id}-Base", hub_id.removesuffix("-Instruct"))
    return next((KNOWN_SHAPES[name] for name in names if name in KNOWN_SHAPES), None)

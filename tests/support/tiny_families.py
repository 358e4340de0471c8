"""Tiny random checkpoints of many architectures, written by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen3MoeConfig,
)

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
SIZES |= dict(num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=False)
MLA = dict(q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, num_key_value_heads=4)
EXPERTS = dict(moe_intermediate_size=16, num_experts_per_tok=2)
DEEPSEEK = (
    MLA | EXPERTS | dict(n_routed_experts=8, n_shared_experts=1, n_group=2, topk_group=1, first_k_dense_replace=1)
)
GEMMA = dict(head_dim=8, sliding_window=8, query_pre_attn_scalar=8, tie_word_embeddings=True)
GEMMA |= dict(layer_types=["sliding_attention", "full_attention"])


def scaled(kind: str, **more: float) -> dict[str, Any]:
    return {"rope_parameters": dict(rope_type=kind, rope_theta=10_000.0, factor=4.0, **more)}


FAMILIES: dict[str, tuple[type, dict[str, Any]]] = {
    "deepseek_v3": (DeepseekV3Config, DEEPSEEK),
    "gemma3": (Gemma3TextConfig, GEMMA),
    "mistral": (MistralConfig, dict(head_dim=8, sliding_window=8)),
    "qwen3_moe": (Qwen3MoeConfig, EXPERTS | dict(head_dim=8, num_experts=8)),
    "phi3": (Phi3Config, {}),
    "olmo2": (Olmo2Config, {}),
}
SCALED: dict[str, tuple[type, dict[str, Any]]] = {
    "yarn": (Qwen2Config, scaled("yarn", original_max_position_embeddings=128)),
    "linear": (LlamaConfig, scaled("linear")),
    "dynamic": (LlamaConfig, scaled("dynamic")),
}
LLAMA3 = scaled("llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
EVERY = {**FAMILIES, **SCALED, "llama": (LlamaConfig, LLAMA3), "qwen2": (Qwen2Config, {})}  # the last two: the decoder


def write_family(
    family: str, tokenizer: PreTrainedTokenizerBase, directory: Path, dtype: torch.dtype = torch.float32, **save: Any
) -> PreTrainedModel:
    """Write a random model with this tokenizer. Its logits vary strongly, and so does its expert routing bias."""
    kind, changes = EVERY[family]
    ids = dict(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None)
    torch.manual_seed(0)
    lm = AutoModelForCausalLM.from_config(kind(vocab_size=len(tokenizer), **SIZES | changes | ids), dtype=dtype).eval()
    with torch.no_grad():
        for weight in (w for w in lm.parameters() if w.ndim >= 2):
            weight.mul_(4)
        for name, buffer in lm.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(torch.linspace(-0.1, 0.1, len(buffer)))
    lm.save_pretrained(directory, **save)
    tokenizer.save_pretrained(directory)
    return lm

"""The supported model families: what their Hugging Face checkpoints imply beyond the sizes in config.json. No torch.

To add a family whose layers `model.decoder` can already compute, add an entry to `FAMILIES`. New kinds of layers also
need `model.layers` (norms, MLP, rotary positions) or `model.attention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Our module -> the Hugging Face modules whose weights are stacked in it, in this order.
MODEL_NAMES: Mapping[str, tuple[str, ...]] = {
    "embed": ("model.embed_tokens",),
    "norm": ("model.norm",),
    "head": ("lm_head",),
    "score": ("score",),
}
BLOCK_NAMES: Mapping[str, tuple[str, ...]] = {  # below model.layers.N
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "attention.q_norm": ("self_attn.q_norm",),
    "attention.k_norm": ("self_attn.k_norm",),
    "mlp_norm": ("post_attention_layernorm",),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down": ("mlp.down_proj",),
}


@dataclass(frozen=True, slots=True)
class Family:
    """One `model_type` of transformers. Defaults are those of the class in transformers."""

    class_prefix: str
    """Prefix of the class names in transformers, as in `Qwen2ForCausalLM`."""
    qkv_bias: bool = False
    """Whether the query, key and value projections have biases."""
    qk_norm: bool = False
    """Whether every query and key head is RMS-normalised before its rotation."""
    default_head_dim: int | None = None
    """Head width where config.json has no head_dim; None: hidden_size / num_attention_heads."""
    default_max_positions: int = 32_768
    """Context length where config.json has no max_position_embeddings."""
    requires_divisible_width: bool = False
    """Whether transformers requires hidden_size to be a multiple of num_attention_heads."""
    activations: tuple[str, ...] = ("silu", "swish")
    """Accepted values of hidden_act. The first is written."""
    rope_types: tuple[str, ...] = ("default", "llama3")
    """Accepted kinds of rotary position scaling."""
    unsupported_flags: tuple[str, ...] = ("attention_bias", "mlp_bias", "use_mrope")
    """Keys of config.json that must be absent or false."""
    written_flags: Mapping[str, bool] = field(default_factory=dict)
    """Keys of this family's config.json that are always false here, in the order they are written."""
    model_names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MODEL_NAMES)
    block_names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: BLOCK_NAMES)

    @property
    def causal_lm_class(self) -> str:
        """The class in transformers for language models."""
        return f"{self.class_prefix}ForCausalLM"

    @property
    def sequence_classification_class(self) -> str:
        """The class in transformers for reward models."""
        return f"{self.class_prefix}ForSequenceClassification"


FAMILIES: Mapping[str, Family] = {
    "qwen2": Family(
        class_prefix="Qwen2",
        qkv_bias=True,
        unsupported_flags=("mlp_bias", "use_mrope"),
        written_flags={"use_sliding_window": False},
    ),
    "qwen3": Family(
        class_prefix="Qwen3",
        qk_norm=True,
        default_head_dim=128,
        written_flags={"attention_bias": False, "use_sliding_window": False},
    ),
    "llama": Family(
        class_prefix="Llama",
        default_max_positions=2048,
        requires_divisible_width=True,
        written_flags={"attention_bias": False, "mlp_bias": False},
    ),
}

*_first, _last = FAMILIES
SUPPORTED = f"{', '.join(_first)} or {_last}"  # for messages

"""The sizes of a causal language model that transformers computes, read from its config. No torch is imported here.

Names differ between architectures, so a value is looked for under each of its names. What a config does not have is
counted as in most models: an MLP of three matrices, every layer with attention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.console import heartbeat
from r1kit.errors import UserError
from r1kit.files import read_json
from r1kit.model.config import ModelConfig

EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts")
TOLD = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")  # every decoder has these


@dataclass(frozen=True, slots=True)
class GenericConfig(ModelConfig):
    """Sizes of a decoder with any attention and any MLP, and with experts."""

    attention_weights: int = 0
    """Of one layer."""
    mlp_weights: int = 0
    """Of all layers."""
    active_width: int = 0
    """Units of an MLP, or of all experts of one token."""
    value_dim: int = 0
    """Width of a value head; that of a key head is `head_dim`."""
    idle_weights: int = 0
    """Of the experts that a token does not use, in all layers."""
    latent_width: int = 0
    """Numbers that stand for the keys and values of all heads in multi-head latent attention; 0 in others."""

    @property
    def is_native(self) -> bool:
        """See `ModelConfig.is_native`."""
        return False

    @property
    def mlp_width(self) -> int:
        """See `ModelConfig.mlp_width`."""
        return self.active_width

    @property
    def cache_width(self) -> int:
        """See `ModelConfig.cache_width`."""
        return self.num_key_value_heads * (self.head_dim + self.value_dim)

    @property
    def served_cache_width(self) -> int:
        """See `ModelConfig.served_cache_width`. vLLM caches the latent vector, r1kit's own engine keys and values."""
        return self.latent_width or self.cache_width

    def active_parameters(self) -> int:
        """See `ModelConfig.active_parameters`."""
        return self.parameter_count() - self.idle_weights

    def parameter_count(self) -> int:
        """Return the number of weights, without norms and biases."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        return self.num_hidden_layers * self.attention_weights + self.mlp_weights + embeddings


def read_generic_config(directory: Path) -> GenericConfig:
    """Read config.json with transformers, which knows the names and the defaults of every architecture.

    Raises:
        UserError: The architecture is unknown to transformers, is more than a causal language model, or needs code
            from the checkpoint.
    """
    content = read_json(directory / "config.json")
    with heartbeat("importing transformers"):
        from transformers import AutoConfig
        from transformers import __version__ as version
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in CAUSAL:
        code = " Its checkpoint brings code of its own, which r1kit never runs." if content.get("auto_map") else ""
        raise UserError(
            f"config.json: model_type = {model_type!r}: must be a causal language model that transformers {version} "
            f"knows.{code} Update transformers, or use another model"
        )
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"config.json: transformers cannot read it: {error}") from error
    if config.get_text_config(decoder=True) is not config:
        raise UserError(
            f"config.json: model_type = {model_type!r} has parts for images or sound beside the language model: use a "
            "checkpoint of the language model alone"
        )
    return generic_config(lambda key: getattr(config, key, None))


def generic_config(get: Callable[[str], Any]) -> GenericConfig:
    """Return the sizes of a model, given a function from the names in Hugging Face configs to values or None."""

    def first(*names: str, default: int = 0) -> int:
        return next((int(value) for name in names if isinstance(value := get(name), int | float)), default)

    if absent := [key for key in TOLD if not get(key)]:
        raise UserError(f"config.json lacks {', '.join(absent)}: r1kit needs a decoder with attention in every layer")
    d, layers, heads = get("hidden_size"), get("num_hidden_layers"), get("num_attention_heads")
    kv = first("num_key_value_heads", default=heads)
    key_dim = value_dim = first("head_dim", default=d // heads)
    attention, latent = d * key_dim * (2 * heads + 2 * kv), 0
    if get("kv_lora_rank"):  # multi-head latent attention: every head has a key and a value of its own
        kv, value_dim, rope = heads, get("v_head_dim"), get("qk_rope_head_dim")
        key_dim, rank, query_rank = get("qk_nope_head_dim") + rope, get("kv_lora_rank"), get("q_lora_rank")
        queries = query_rank * (d + heads * key_dim) if query_rank else d * heads * key_dim
        latent = rank + rope
        attention = queries + d * latent + rank * heads * (key_dim - rope + value_dim) + heads * value_dim * d
    width = first("intermediate_size", "ffn_dim", "n_inner", default=4 * d)
    experts, active, dense = first(*EXPERTS), width, layers
    mlp, idle = 3 * d * width * layers, 0
    if experts:
        each = first("moe_intermediate_size", default=width)
        shared = first("n_shared_experts") * each + first("shared_expert_intermediate_size")
        chosen = first("num_experts_per_tok", default=1)
        active = chosen * each + shared
        dense = min(layers, first("first_k_dense_replace"))
        idle = 3 * d * (layers - dense) * (experts - chosen) * each
        mlp = 3 * d * (width * dense + (layers - dense) * (experts * each + shared)) + (layers - dense) * d * experts
    eos = get("eos_token_id")
    return GenericConfig(
        model_type=str(get("model_type")),
        vocab_size=get("vocab_size"),
        hidden_size=d,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv,
        head_dim=key_dim,
        tie_word_embeddings=bool(get("tie_word_embeddings")),
        max_position_embeddings=first("max_position_embeddings", default=2048),
        bos_token_id=get("bos_token_id"),
        eos_token_ids=() if eos is None else (eos,) if isinstance(eos, int) else tuple(eos),
        pad_token_id=get("pad_token_id"),
        attention_weights=attention,
        mlp_weights=mlp,
        active_width=active,
        value_dim=value_dim,
        idle_weights=idle,
        latent_width=latent,
    )

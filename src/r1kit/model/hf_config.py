"""config.json of Hugging Face checkpoints, read and written. No torch: plans read it too.

A config that the decoder would compute differently from transformers is left to transformers: see `model.generic`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from r1kit.errors import UserError
from r1kit.files import read_json
from r1kit.model.adapter_files import base_directory, is_adapter
from r1kit.model.config import ModelConfig, RopeScaling
from r1kit.model.families import FAMILIES, SUPPORTED
from r1kit.model.generic.shape import read_generic_config

REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def config_from_hf(config: Mapping[str, Any]) -> ModelConfig:
    """Read the content of a config.json.

    Both dialects are understood: transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters). Absent keys have
    the default that transformers gives them for the architecture.
    """
    if reasons := _not_native(config):
        raise UserError(f"config.json sets {'; '.join(reasons)}: not one of the families {SUPPORTED}")
    if absent := [key for key in REQUIRED if config.get(key) is None]:
        raise UserError(f"config.json lacks {', '.join(absent)}")
    model_type, rope = config["model_type"], _rope(config)
    family = FAMILIES[model_type]
    heads = config["num_attention_heads"]
    positions = config.get("max_position_embeddings") or family.default_max_positions
    return _checked(
        ModelConfig(
            model_type=model_type,
            **{key: config[key] for key in REQUIRED},
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or family.default_head_dim or config["hidden_size"] // heads,
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
            rope_scaling=_scaling(rope, positions),
            tie_word_embeddings=config.get("tie_word_embeddings", False),
            max_position_embeddings=positions,
            bos_token_id=config.get("bos_token_id"),
            eos_token_ids=_ids(config.get("eos_token_id")),
            pad_token_id=config.get("pad_token_id"),
        )
    )


def _not_native(config: Mapping[str, Any]) -> list[str]:
    """Return what the decoder would compute differently from transformers; nothing if it can compute the model."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        return [f"model_type {model_type!r}"]
    family, rope = FAMILIES[model_type], _rope(config)
    # Released Qwen2 configs set a window that would start behind the last layer: it has no effect.
    windowed = config.get("use_sliding_window") and config.get("sliding_window")
    windowed = windowed and config.get("max_window_layers", 28) < config.get("num_hidden_layers", 0)
    layers = config.get("layer_types") or (["sliding_attention"] if windowed else [])
    per_layer = any(isinstance(value, Mapping) for value in rope.values())
    rotated = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    activation = config.get("hidden_act", family.activations[0])
    different = {
        f"layer_types or use_sliding_window ({', '.join(sorted(set(layers)))})": set(layers) - {"full_attention"},
        f"hidden_act {activation!r}": activation not in family.activations,
        f"partial_rotary_factor {rotated}": rotated != 1.0,
        f"rope_type {_rope_type(rope)!r}": _rope_type(rope) not in family.rope_types,
        "rope_parameters that differ between layers": per_layer,
        **{flag: config.get(flag) for flag in family.unsupported_flags},
    }
    return [name for name, present in different.items() if present]


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return config.get("rope_scaling") or config.get("rope_parameters") or {}


def _rope_type(rope: Mapping[str, Any]) -> str:
    return rope.get("rope_type") or rope.get("type") or "default"


def _scaling(rope: Mapping[str, Any], positions: int) -> RopeScaling | None:
    if _rope_type(rope) != "llama3":
        return None
    fields = ("factor", "low_freq_factor", "high_freq_factor")
    if absent := [key for key in fields if rope.get(key) is None]:
        raise UserError(f"config.json: rope_type 'llama3' lacks {', '.join(absent)}")
    original = rope.get("original_max_position_embeddings") or positions
    return RopeScaling(**{key: float(rope[key]) for key in fields}, original_max_position_embeddings=original)


def _ids(value: int | list[int] | None) -> tuple[int, ...]:
    return () if value is None else (value,) if isinstance(value, int) else tuple(value)


def _checked(config: ModelConfig) -> ModelConfig:
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    if heads % kv:
        raise UserError(f"num_attention_heads = {heads}: must be a multiple of num_key_value_heads = {kv}")
    if config.head_dim % 2:
        raise UserError(f"head_dim = {config.head_dim}: must be even, because rotary positions rotate pairs")
    if config.family.requires_divisible_width and config.hidden_size % heads:
        raise UserError(f"hidden_size = {config.hidden_size}: must be a multiple of num_attention_heads = {heads}")
    return config


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """Return a config.json that transformers 4, transformers 5 and vLLM read: the keys of the hub's own checkpoints."""
    _checked(config)
    scaling = config.rope_scaling
    return {
        "architectures": [config.family.causal_lm_class],
        "model_type": config.model_type,
        **{key: getattr(config, key) for key in REQUIRED},
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_act": config.family.activations[0],
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if scaling is None else {"rope_type": "llama3", **asdict(scaling)},
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_dropout": 0.0,
        "use_cache": True,
        **token_ids(config),
        **config.family.written_flags,
    }


def token_ids(config: ModelConfig) -> dict[str, int | list[int] | None]:
    """Return the token-id keys that config.json and generation_config.json share."""
    eos = config.eos_token_ids
    return {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if len(eos) > 1 else eos[0] if eos else None,
        "pad_token_id": config.pad_token_id,
    }


def read_config(directory: Path) -> ModelConfig:
    """Read config.json, and from generation_config.json the token ids that only that file has."""
    if is_adapter(directory):
        return read_config(base_directory(directory))
    content = read_json(directory / "config.json")
    if not isinstance(content, dict):
        raise UserError(
            f"{directory / 'config.json'}: holds a {type(content).__name__}, not an object: must be the "
            "config.json of a Hugging Face checkpoint"
        )
    if content.get("quantization_config"):
        raise UserError(
            "config.json sets quantization_config: quantized weights cannot be trained. Use the checkpoint in bfloat16 "
            "or convert it with the tool of its authors"
        )
    config = read_generic_config(directory) if _not_native(content) else config_from_hf(content)
    generation_file = directory / "generation_config.json"
    generation = read_json(generation_file) if generation_file.is_file() else {}
    extra = [token for token in _ids(generation.get("eos_token_id")) if token not in config.eos_token_ids]
    bos, pad = config.bos_token_id, config.pad_token_id
    return replace(
        config,
        eos_token_ids=config.eos_token_ids + tuple(extra),
        bos_token_id=generation.get("bos_token_id") if bos is None else bos,
        pad_token_id=generation.get("pad_token_id") if pad is None else pad,
    )

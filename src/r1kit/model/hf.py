"""Hugging Face checkpoints of Qwen2, Qwen3 and Llama, in and out: config, weights, tokenizer.

What the decoder would compute differently from transformers is refused by name, never approximated.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from r1kit.artifact import UserError, publish, read_json, write_json
from r1kit.log import say
from r1kit.model.config import ModelConfig, RopeScaling
from r1kit.model.decoder import Decoder
from r1kit.model.weights import HEAD, check_fit, fill, stored_tensors, write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}
REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
PROBE = "It's 12 o'clock,\n\n  isn't it?  Cafe\u0301 = caf\u00e9\t(3+4)*5=35. \u4f60\u597d\uff0c\u4e16\u754c \n"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
COVERS = "r1kit's own decoder covers qwen2, qwen3 and llama"


def config_from_hf(config: Mapping[str, Any]) -> ModelConfig:
    """Read a config.json's content, written by transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).

    Keys that are absent mean what transformers' defaults for the architecture mean.
    """
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise UserError(f"model_type {kind!r}: {COVERS}")
    if absent := [key for key in REQUIRED if config.get(key) is None]:
        raise UserError(f"config.json lacks {', '.join(absent)}")
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    _refuse(kind, config, rope)
    heads = config["num_attention_heads"]
    positions = config.get("max_position_embeddings") or (2048 if kind == "llama" else 32_768)
    return _checked(
        ModelConfig(
            model_type=kind,
            **{key: config[key] for key in REQUIRED},
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or (128 if kind == "qwen3" else config["hidden_size"] // heads),
            rms_norm_eps=config.get("rms_norm_eps", 1e-6),
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
            rope_scaling=_scaling(rope, positions),
            tie_word_embeddings=config.get("tie_word_embeddings", False),
            qkv_bias=kind == "qwen2",
            qk_norm=kind == "qwen3",
            max_position_embeddings=positions,
            bos_token_id=config.get("bos_token_id"),
            eos_token_ids=_ids(config.get("eos_token_id")),
            pad_token_id=config.get("pad_token_id"),
        )
    )


def _refuse(kind: str, config: Mapping[str, Any], rope: Mapping[str, Any]) -> None:
    windowed = config.get("use_sliding_window") and config.get("sliding_window")
    windowed = windowed and config.get("max_window_layers", 28) < config["num_hidden_layers"]
    layers = config.get("layer_types") or (["sliding_attention"] if windowed else [])
    per_layer = any(isinstance(value, Mapping) for value in rope.values())
    rotated = rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0
    refused = {
        "quantization_config (quantized weights)": config.get("quantization_config"),
        f"layer_types or use_sliding_window ({', '.join(sorted(set(layers)))})": set(layers) - {"full_attention"},
        f"hidden_act {config.get('hidden_act')!r}": config.get("hidden_act", "silu") not in ("silu", "swish"),
        "attention_bias": kind != "qwen2" and config.get("attention_bias"),
        "mlp_bias": config.get("mlp_bias"),
        f"partial_rotary_factor {rotated}": rotated != 1.0,
        f"rope_type {_rope_type(rope)!r}": _rope_type(rope) not in ("default", "llama3"),
        "rope_parameters that differ between layers": per_layer,
        "use_mrope": config.get("use_mrope"),
    }
    if found := [name for name, present in refused.items() if present]:
        raise UserError(f"config.json asks for {'; '.join(found)}: {COVERS}, without that")


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
        raise UserError(f"num_attention_heads {heads} must be a multiple of num_key_value_heads {kv}")
    if config.head_dim % 2:
        raise UserError(f"head_dim {config.head_dim} must be even: rotary positions turn pairs")
    if config.model_type == "llama" and config.hidden_size % heads:
        raise UserError(f"llama's hidden_size {config.hidden_size} must be a multiple of num_attention_heads {heads}")
    return config


def config_to_hf(config: ModelConfig) -> dict[str, Any]:
    """A config.json for transformers 4 and 5 and vLLM: the keys of the hub's own checkpoints, which all three read."""
    _checked(config)
    assert (config.qkv_bias, config.qk_norm) == (config.model_type == "qwen2", config.model_type == "qwen3")
    scaling = config.rope_scaling
    hf = {
        "architectures": [ARCHITECTURES[config.model_type]],
        "model_type": config.model_type,
        **{key: getattr(config, key) for key in REQUIRED},
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None if scaling is None else {"rope_type": "llama3", **asdict(scaling)},
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_dropout": 0.0,
        "use_cache": True,
        **_token_ids(config),
    }
    if config.model_type != "qwen2":
        hf["attention_bias"] = False
    if config.model_type == "llama":
        return hf | {"mlp_bias": False}
    return hf | {"use_sliding_window": False}


def _token_ids(config: ModelConfig) -> dict[str, int | list[int] | None]:
    eos = config.eos_token_ids
    return {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if len(eos) > 1 else eos[0] if eos else None,
        "pad_token_id": config.pad_token_id,
    }


def read_config(directory: Path) -> ModelConfig:
    """config.json, with the token ids that only generation_config.json has."""
    config = config_from_hf(read_json(directory / "config.json"))
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


def load_model(directory: Path, dtype: torch.dtype, device: torch.device | str) -> Decoder:
    """The checkpoint in `directory`; beside the model itself one tensor is held. UserError names what does not fit."""
    config, stored = read_config(directory), stored_tensors(directory)
    if HEAD not in stored:
        config = replace(config, tie_word_embeddings=True)
    with torch.device("meta"):
        model = Decoder(config)
    check_fit(model, stored, directory)
    model = model.to(dtype).to_empty(device=device)
    fill(model, stored, directory)
    return model


def save_model(
    model: Decoder, tokenizer: PreTrainedTokenizerBase | None, directory: Path, *, max_shard_bytes: int = 5 * 10**9
) -> None:
    """A complete checkpoint in the parameters' dtype; weights already in `directory` are replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    dtype = str(model.embed.weight.dtype).removeprefix("torch.")
    write_json(directory / "config.json", config_to_hf(model.config) | {"torch_dtype": dtype})
    tokens = {key: value for key, value in _token_ids(model.config).items() if value is not None}
    generation = {**tokens, "do_sample": True, "temperature": 0.6, "top_p": 0.95}  # as released R1 models
    write_json(directory / "generation_config.json", generation)
    write_weights(model, directory, max_shard_bytes)
    if tokenizer is not None:
        _save_tokenizer(tokenizer, directory)


def publish_model(model: Decoder, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """`save_model` aside, then make the whole checkpoint appear at once."""
    aside = directory.with_name(f".{directory.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    save_model(model, tokenizer, aside)
    publish(aside, directory)


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Tokenizer and chat template. transformers 5 writes two things that 4 cannot read; both read the older names."""
    tokenizer.save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    config = read_json(path)
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    for how_it_was_loaded in ("is_local", "local_files_only"):
        config.pop(how_it_was_loaded, None)
    write_json(path, config)
    _warn_of_auto_tokenizer(tokenizer, directory)


def _warn_of_auto_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """transformers 5 splits text for every qwen2 checkpoint as Qwen2 does, whatever its tokenizer.json says."""
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    if peer.encode(PROBE) != tokenizer.encode(PROBE):
        say(
            f"warning: {directory}: AutoTokenizer in this transformers splits text otherwise than this tokenizer does. "
            "Elsewhere load it with PreTrainedTokenizerFast, and give vLLM token ids instead of text"
        )


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer beside the weights; nothing is downloaded and no code from the checkpoint runs.

    tokenizer.json is taken as it stands: AutoTokenizer in transformers 5 rebuilds it as the model type's own
    tokenizer, which splits text differently when a checkpoint brought another (R1's Llama distills do).
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    present = [name for name in TOKENIZER_FILES if (directory / name).is_file()]
    if not present:  # AutoTokenizer would hand out an empty one
        raise UserError(f"{directory}: no tokenizer here (none of {', '.join(TOKENIZER_FILES)})")
    kind = PreTrainedTokenizerFast if present[0] == "tokenizer.json" else AutoTokenizer
    try:
        return kind.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{directory}: unusable tokenizer ({error})") from error

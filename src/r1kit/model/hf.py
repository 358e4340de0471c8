"""Hugging Face checkpoints of Qwen2, Qwen3 and Llama, in and out: weights, tokenizer, and the config beside them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from r1kit.console import say
from r1kit.errors import UserError
from r1kit.files import publish, read_json, write_json
from r1kit.model.decoder import Decoder
from r1kit.model.hf_config import config_to_hf, read_config, token_ids
from r1kit.model.weights import HEAD, Stored, check_fit, fill, stored_tensors, write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

M = TypeVar("M", bound=Decoder)
PROBE = "It's 12 o'clock,\n\n  isn't it?  Cafe\u0301 = caf\u00e9\t(3+4)*5=35. \u4f60\u597d\uff0c\u4e16\u754c \n"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def load_model(directory: Path, dtype: torch.dtype, device: torch.device | str) -> Decoder:
    """The checkpoint in `directory`; beside the model itself one tensor is held. UserError names what does not fit."""
    config, stored = read_config(directory), stored_tensors(directory)
    if HEAD not in stored:
        config = replace(config, tie_word_embeddings=True)
    with torch.device("meta"):
        model = Decoder(config)
    return load_weights(model, stored, directory, dtype, device)


def load_weights(
    model: M, stored: dict[str, Stored], directory: Path, dtype: torch.dtype, device: torch.device | str
) -> M:
    """A model on the meta device, made real and filled with what is stored. UserError when the two do not fit."""
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
    config = {**config_to_hf(model.config), **model.hugging_face_keys(), "torch_dtype": dtype}
    write_json(directory / "config.json", config)
    tokens = {key: value for key, value in token_ids(model.config).items() if value is not None}
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

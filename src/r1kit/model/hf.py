"""Load and save Hugging Face checkpoints: weights, config and tokenizer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from r1kit.console import heartbeat, warn
from r1kit.errors import UserError
from r1kit.files import publish, read_json, write_json
from r1kit.model.adapter_files import base_directory, is_adapter, merge_files
from r1kit.model.decoder import Decoder
from r1kit.model.dtypes import dtype_name
from r1kit.model.generic.shape import GenericConfig
from r1kit.model.hf_config import config_to_hf, read_config, token_ids
from r1kit.model.policy import Policy
from r1kit.model.reference import TOKENIZER_FILES
from r1kit.model.weights import HEAD, StoredTensor, check_fit, fill, hugging_face_views, stored_tensors, write_weights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

M = TypeVar("M", bound=Decoder)
PROBE = "It's 12 o'clock,\n\n  isn't it?  Cafe\u0301 = caf\u00e9\t(3+4)*5=35. \u4f60\u597d\uff0c\u4e16\u754c \n"


def load_model(directory: Path, dtype: torch.dtype, device: torch.device | str) -> Policy:
    """Load a checkpoint, holding one tensor beyond the model in memory. UserError names what does not match.

    The directory of an adapter gives its base model with the adapter merged into it.
    """
    if is_adapter(directory):
        model = load_model(base_directory(directory), dtype, device)
        merge_files(_views(model), directory)
        return model
    config = read_config(directory)
    if isinstance(config, GenericConfig):
        from r1kit.model.generic.checkpoint import load_generic  # imports transformers

        return load_generic(directory, config, dtype, device)
    stored = stored_tensors(directory)
    if HEAD not in stored:
        config = replace(config, tie_word_embeddings=True)
    with torch.device("meta"):
        empty = Decoder(config)
    return load_weights(empty, stored, directory, dtype, device)


def _views(model: Policy) -> dict[str, Tensor]:
    """Return the model's weights under their Hugging Face names, sharing its memory."""
    if isinstance(model, Decoder):
        return hugging_face_views(model)
    return {name.removeprefix("lm."): weight.detach() for name, weight in model.named_parameters()}


def load_weights(
    model: M, stored: dict[str, StoredTensor], directory: Path, dtype: torch.dtype, device: torch.device | str
) -> M:
    """Allocate a model that is on the meta device and fill it. UserError when weights and config do not match."""
    check_fit(model, stored, directory)
    with heartbeat(f"loading the model {directory}"):
        model = model.to(dtype).to_empty(device=device)
        fill(model, stored, directory)
    return model


def save_model(
    model: Policy, tokenizer: PreTrainedTokenizerBase | None, directory: Path, *, max_shard_bytes: int = 5 * 10**9
) -> None:
    """Write a complete checkpoint in the parameters' dtype. Older weights in `directory` are deleted."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("model*.safetensors*"):
        old.unlink()
    if isinstance(model, Decoder):
        dtype = {"torch_dtype": dtype_name(model.embed.weight.dtype)}
        write_json(directory / "config.json", {**config_to_hf(model.config), **model.hugging_face_keys(), **dtype})
        write_weights(model, directory, max_shard_bytes)
    else:
        from r1kit.model.generic.checkpoint import save_generic  # imports transformers

        save_generic(model, directory, max_shard_bytes)
    tokens = {key: value for key, value in token_ids(model.config).items() if value is not None}
    generation = {**tokens, "do_sample": True, "temperature": 0.6, "top_p": 0.95}  # as in the released R1 models
    write_json(directory / "generation_config.json", generation)
    if tokenizer is not None:
        _save_tokenizer(tokenizer, directory)


def publish_model(model: Policy, tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Save to a temporary directory, then rename it atomically."""
    temporary = directory.with_name(f".{directory.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    with heartbeat(f"writing the model {directory}"):
        save_model(model, tokenizer, temporary)
        publish(temporary, directory)


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Save tokenizer and chat template under the names that both transformers 4 and 5 read."""
    tokenizer.save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    config = read_json(path)
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    for provenance in ("is_local", "local_files_only"):
        config.pop(provenance, None)
    write_json(path, config)
    _warn_if_auto_tokenizer_differs(tokenizer, directory)


def _warn_if_auto_tokenizer_differs(tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Warn where AutoTokenizer ignores tokenizer.json, as transformers 5 does for qwen2 checkpoints."""
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    if peer.encode(PROBE) != tokenizer.encode(PROBE):
        warn(
            f"{directory}: AutoTokenizer of this transformers version splits text differently from this "
            "tokenizer. Load it with PreTrainedTokenizerFast, and give vLLM token ids instead of text"
        )


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint. Nothing is downloaded and no code from the checkpoint runs.

    tokenizer.json is used unchanged. AutoTokenizer in transformers 5 replaces it with the model type's own tokenizer,
    which splits text differently where a checkpoint has another (R1's Llama distills do).
    """
    with heartbeat("importing transformers"):
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

    present = [name for name in TOKENIZER_FILES if (directory / name).is_file()]
    if not present and is_adapter(directory):
        return load_tokenizer(base_directory(directory))
    if not present:  # AutoTokenizer would return an empty one
        raise UserError(f"{directory}: no tokenizer: expected one of {', '.join(TOKENIZER_FILES)}")
    kind = PreTrainedTokenizerFast if present[0] == "tokenizer.json" else AutoTokenizer
    try:
        with heartbeat(f"loading the tokenizer {directory}"):
            tokenizer = kind.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises plain Exception for what it cannot parse
        raise UserError(f"{directory}: the tokenizer cannot be loaded ({error})") from error
    _refuse_larger_vocabulary(tokenizer, directory)
    return tokenizer


def _refuse_larger_vocabulary(tokenizer: PreTrainedTokenizerBase, directory: Path) -> None:
    """Refuse a tokenizer with ids that have no embedding: the first text that contains one would fail."""
    if not (directory / "config.json").is_file():
        return
    config = read_json(directory / "config.json")
    size = config.get("vocab_size") if isinstance(config, dict) else None
    largest = max(tokenizer.get_vocab().values(), default=0)
    if isinstance(size, int) and largest >= size:
        raise UserError(
            f"{directory}: the tokenizer has ids up to {largest}, but the model's vocabulary ends at {size - 1} "
            f"(vocab_size = {size}): use the tokenizer that the model was trained with"
        )

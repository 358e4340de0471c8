"""Choose a rollout engine. To add one, implement `engine.base.Engine` and return it from `make_engine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.engine.base import Engine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from r1kit.model.policy import Policy


def make_engine(
    model: Policy, tokenizer: PreTrainedTokenizerBase, max_concurrent: int, kv_cache_tokens: int | None = None
) -> Engine:
    """Return an engine that samples from `model`.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        max_concurrent: Completions sampled at the same time, at most.
        kv_cache_tokens: Tokens in the KV cache at the same time; any number by default.
    """
    from r1kit.model.decoder import Decoder

    if not isinstance(model, Decoder):
        from r1kit.engine.generic import GenericEngine

        return GenericEngine(model, tokenizer, max_concurrent, kv_cache_tokens)
    from r1kit.engine.native import NativeEngine

    return NativeEngine(model, tokenizer, max_concurrent, kv_cache_tokens)


def load_engine(
    model_dir: Path, device: str, dtype: str, max_concurrent: int, kv_cache_tokens: int | None = None
) -> tuple[Engine, PreTrainedTokenizerBase]:
    """Return an engine over a checkpoint directory, and its tokenizer."""
    from r1kit.model.dtypes import torch_dtype
    from r1kit.model.hf import load_model, load_tokenizer

    tokenizer = load_tokenizer(model_dir)
    model = load_model(model_dir, torch_dtype(dtype), device)
    return make_engine(model, tokenizer, max_concurrent, kv_cache_tokens), tokenizer

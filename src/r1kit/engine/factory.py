"""Choose a rollout engine. To add one, implement `engine.base.Engine` and return it from `make_engine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.engine.base import Engine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from r1kit.model.decoder import Decoder


def make_engine(model: Decoder, tokenizer: PreTrainedTokenizerBase, max_concurrent: int) -> Engine:
    """Return an engine that samples from `model`, at most `max_concurrent` completions at a time."""
    from r1kit.engine.native import NativeEngine

    return NativeEngine(model, tokenizer, max_concurrent)


def load_engine(
    model_dir: Path, device: str, dtype: str, max_concurrent: int
) -> tuple[Engine, PreTrainedTokenizerBase]:
    """Return an engine over a checkpoint directory, and its tokenizer."""
    from r1kit.model.dtypes import torch_dtype
    from r1kit.model.hf import load_model, load_tokenizer

    tokenizer = load_tokenizer(model_dir)
    model = load_model(model_dir, torch_dtype(dtype), device)
    return make_engine(model, tokenizer, max_concurrent), tokenizer

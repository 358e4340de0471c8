"""The only place that chooses an engine."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Engine


def load_engine(
    model_dir: Path, device: str, dtype: str, max_concurrent: int
) -> tuple[Engine, PreTrainedTokenizerBase]:
    """The native engine over a checkpoint directory, and its tokenizer."""
    import torch

    from r1kit.engine.native import NativeEngine
    from r1kit.model.hf import load_model, load_tokenizer

    tokenizer = load_tokenizer(model_dir)
    model = load_model(model_dir, getattr(torch, dtype), device)
    return NativeEngine(model, tokenizer, max_concurrent), tokenizer

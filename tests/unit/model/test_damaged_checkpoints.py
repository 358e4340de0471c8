"""Checkpoints that cannot work are refused when they are loaded, and the message names the tensor or the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from r1kit.errors import UserError
from r1kit.model.hf import load_model, load_tokenizer, save_model
from r1kit.model.hf_config import read_config


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(make_decoder, tmp_path: Path, value: float, dtype) -> None:
    model = make_decoder(0).to(dtype)
    save_model(model, None, tmp_path)
    load_model(tmp_path, torch.float32, "cpu")
    with torch.no_grad():
        model.blocks[1].mlp.down.weight[3, 5] = value
    save_model(model, None, tmp_path)
    with pytest.raises(UserError, match=r"model.layers.1.mlp.down_proj.weight has 1 of 1536 values that are NaN"):
        load_model(tmp_path, torch.float32, "cpu")


def test_tokenizer_with_ids_beyond_the_vocabulary_is_refused(make_decoder, tokenizer, tmp_path: Path) -> None:
    save_model(make_decoder(0), tokenizer, tmp_path)
    load_tokenizer(tmp_path)
    save_model(make_decoder(0, vocab_size=len(tokenizer) - 1), tokenizer, tmp_path)
    with pytest.raises(UserError, match=rf"ids up to {len(tokenizer) - 1}, .* \(vocab_size = {len(tokenizer) - 1}\)"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"added_tokens": 3}', '{"model": {"type": "BPE", "vocab": 1}}', ""])
def test_unreadable_tokenizer_is_named(make_decoder, tokenizer, tmp_path: Path, text: str) -> None:
    save_model(make_decoder(0), tokenizer, tmp_path)
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match=f"{tmp_path}: the tokenizer cannot be loaded"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [[], "x", None, 3, {}, {"model_type": ["llama"]}, {"model_type": "llama"}])
def test_config_that_is_no_config_is_named(tmp_path: Path, content: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"config\.json"):
        read_config(tmp_path)

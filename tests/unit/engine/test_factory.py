"""The factory returns engines that meet `engine.base.Engine`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import load_engine, make_engine
from r1kit.model.dtypes import dtype_name, torch_dtype
from r1kit.model.hf import save_model

REQUESTS = [Request("p", (5, 6, 7), samples=3)]
PARAMS = SamplingParams(seed=1, max_tokens=6)


def test_loaded_engine_samples_as_one_made_from_the_model(make_decoder, tokenizer, tmp_path: Path):
    model = make_decoder(1)
    save_model(model, tokenizer, tmp_path)
    engine, loaded_tokenizer = load_engine(tmp_path, "cpu", "float32", max_concurrent=2)
    expected = make_engine(model, tokenizer, 2).generate(REQUESTS, PARAMS)
    assert engine.generate(REQUESTS, PARAMS) == expected
    assert engine.generate(REQUESTS, replace(PARAMS, seed=2)) != expected
    assert loaded_tokenizer.encode("1 + 2") == tokenizer.encode("1 + 2")


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_dtype_names(name: str):
    assert torch_dtype(name) is getattr(torch, name)
    assert dtype_name(torch_dtype(name)) == name


def test_unknown_dtype_is_an_error():
    with pytest.raises(ValueError, match="dtype = 'int8': must be float32 or bfloat16"):
        torch_dtype("int8")

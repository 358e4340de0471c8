"""The prepacked copy computes what the model computes."""

from __future__ import annotations

import pytest
import torch

from r1kit.engine import prepacked as module
from r1kit.engine.prepacked import prepacked

TOKENS = torch.arange(60).view(4, 15)


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request, make_decoder):
    return make_decoder(3, tie_word_embeddings=request.param)


@torch.no_grad()
def logits_of(decoder):
    return decoder.logits(decoder(TOKENS))


def test_float32_logits_are_equal_up_to_rounding(model):
    packed = prepacked(model)
    assert packed is not model
    torch.testing.assert_close(logits_of(packed), logits_of(model), rtol=1e-4, atol=1e-5)


def test_bfloat16_logits_are_bit_identical(model):
    model = model.bfloat16()
    model.fp32_head = False
    packed = prepacked(model)
    if packed is model:
        pytest.skip("this CPU has no bfloat16 products")
    assert torch.equal(logits_of(packed), logits_of(model))
    model.fp32_head = True
    exact, rounded = logits_of(prepacked(model)), logits_of(packed)
    assert exact.dtype == torch.float32 and not torch.equal(exact, exact.bfloat16().float())
    torch.testing.assert_close(exact, logits_of(model), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rounded.float(), exact, rtol=2**-7, atol=2**-7)  # the order of the sums may differ


def test_copy_and_model_are_independent(model):
    before, names = logits_of(model), {name for name, _ in model.named_parameters()}
    packed = prepacked(model)
    packed_before = logits_of(packed)
    assert {name for name, _ in model.named_parameters()} == names and torch.equal(logits_of(model), before)
    with torch.no_grad():
        model.blocks[0].mlp.down.weight.mul_(2)
    assert torch.equal(logits_of(packed), packed_before) and not torch.equal(logits_of(model), before)


def test_embedding_is_shared(model):
    assert prepacked(model).embed.weight.data_ptr() == model.embed.weight.data_ptr()


def test_model_is_returned_where_packing_is_impossible(model, monkeypatch):
    monkeypatch.setattr(module, "memory_bytes", lambda: 10_000)
    assert prepacked(model) is model, "too large for a copy"
    monkeypatch.undo()
    model = model.double()
    assert prepacked(model) is model, "no float64 products"

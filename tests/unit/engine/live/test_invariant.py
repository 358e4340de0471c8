"""Rows of the batch-invariant decoder have the same bits in every batch."""

from __future__ import annotations

import pytest
import torch

from r1kit.engine import prepacked
from r1kit.engine.live.invariant import batch_invariant


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("packs", [True, False], ids=["packed", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_logits_do_not_depend_on_the_number_of_rows(make_decoder, monkeypatch, packs, dtype):
    if not packs:
        monkeypatch.setattr(prepacked, "memory_bytes", lambda: 0)
    model = make_decoder(1, hidden_size=96, intermediate_size=2000, head_dim=24, tie_word_embeddings=packs).to(dtype)
    steady, tokens = batch_invariant(model), torch.arange(1, 41)[:, None]

    def logits(rows: torch.Tensor) -> torch.Tensor:
        return steady.logits(steady(rows)[:, -1])

    together = logits(tokens)
    torch.testing.assert_close(together, model.logits(model(tokens)[:, -1]), rtol=2e-2, atol=2e-2 if packs else 0.2)
    for count in (2, 3, 5, 8, 17, 39):
        assert torch.equal(logits(tokens[:count]), together[:count]), count
        assert torch.equal(logits(tokens[-count:]), together[-count:]), count


def test_the_model_itself_is_not_changed(make_decoder):
    model = make_decoder(1)
    names = [name for name, _ in model.named_modules()]
    steady = batch_invariant(model)
    assert steady is not model and [name for name, _ in model.named_modules()] == names
    assert steady.embed.weight.data_ptr() == model.embed.weight.data_ptr()

"""A family whose layers the decoder can already compute needs only an entry in `FAMILIES`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, MistralConfig

from r1kit.model import families
from r1kit.model.families import Family
from r1kit.model.hf import load_model, save_model

SIZES = dict(vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=2, max_position_embeddings=64)


@torch.no_grad()
def test_table_entry_suffices_for_mistral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families.FAMILIES, "mistral", Family("Mistral", written_flags={"attention_bias": False}))
    config = MistralConfig(**SIZES, num_attention_heads=6, num_key_value_heads=2, sliding_window=None)
    torch.manual_seed(0)
    peer = AutoModelForCausalLM.from_config(config).eval()
    for weight in peer.parameters():
        weight.mul_(5)
    peer.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs", torch.float32, "cpu")
    tokens = torch.arange(60).view(2, 30)
    expected = peer(tokens).logits
    assert expected.std() > 0.3
    torch.testing.assert_close(ours.logits(ours(tokens)), expected, rtol=0, atol=1e-3)
    save_model(ours, None, tmp_path / "ours")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    assert type(again).__name__ == "MistralForCausalLM"
    torch.testing.assert_close(again(tokens).logits, expected, rtol=0, atol=1e-3)

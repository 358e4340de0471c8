"""A reward model has the scores of transformers' sequence classifier with the same checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from r1kit.data.pack import Document, pack
from r1kit.errors import UserError
from r1kit.learn.next_token import hidden_states
from r1kit.learn.preference_loss import document_scores
from r1kit.model.families import FAMILIES
from r1kit.model.hf import load_model, save_model
from r1kit.model.reward_model import load_reward_model, reward_model_from


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_transformers_computes_the_same_scores(
    model_type: str, tied: bool, make_decoder, tokenizer, tmp_path: Path
) -> None:
    settings = {"scores": "summary"}
    model = reward_model_from(make_decoder(model_type=model_type, tie_word_embeddings=tied, pad_token_id=0), settings)
    assert not model.score.weight.any()
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(3))
    save_model(model, tokenizer, tmp_path)
    ours = load_reward_model(tmp_path, torch.float32, "cpu")
    theirs, report = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert type(theirs).__name__.lower() == f"{model_type}forsequenceclassification" and theirs.num_labels == 1
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    documents = [Document(np.random.default_rng(n).integers(1, 300, n, dtype=np.int32), 0) for n in (3, 17, 5, 40, 16)]
    padded = torch.zeros(5, 40, dtype=torch.long)
    for i, document in enumerate(documents):
        padded[i, : len(document)] = torch.from_numpy(document.tokens)
    with torch.inference_mode():
        expected = theirs(input_ids=padded, attention_mask=padded != 0).logits.squeeze(1)
        scores = document_scores(ours, pack(documents))
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-4)
    assert ours.settings == settings and hidden_states(ours, pack(documents)).shape[0] == 81


def test_policy_and_reward_model_checkpoints_are_distinguished(make_decoder, tmp_path: Path) -> None:
    save_model(make_decoder(), None, tmp_path)
    with pytest.raises(UserError, match="not a reward model"):
        load_reward_model(tmp_path, torch.float32, "cpu")
    save_model(reward_model_from(make_decoder(), {}), None, tmp_path)
    with pytest.raises(UserError, match=r"unexpected: score\.weight"):
        load_model(tmp_path, torch.float32, "cpu")

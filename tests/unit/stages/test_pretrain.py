"""The pretrain stage: resuming, and continuing from an earlier model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1kit.config import Architecture, Pretrain
from r1kit.stages import pretrain
from r1kit.stages.context import StageContext

SHAPE = Architecture(
    model_type="qwen3",
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
)
SIZES = {"kind": "pretrain", "context_length": 32, "steps": 7, "sequences_per_step": 2, "learning_rate": 1e-2}


def context(directory: Path, models: dict[str, Path] | None = None) -> StageContext:
    return StageContext("base", directory, 5, "float32", "cpu", 8, models or {})


def weights(directory: Path) -> bytes:
    return (directory / "model/model.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def small_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "TOKENIZER_DOCUMENTS", 300)
    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    monkeypatch.setattr(pretrain, "LOG_EVERY", 1)


def test_resumed_stage_gives_identical_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Pretrain(**SIZES, vocab_size=300, architecture=SHAPE)
    pretrain.run(config, context(tmp_path / "complete"))
    loss, calls = pretrain.next_token_loss, []

    def interrupted(*args: object) -> object:
        calls.append(args)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return loss(*args)

    monkeypatch.setattr(pretrain, "next_token_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain.run(config, context(tmp_path / "resumed"))
    pretrain.run(config, context(tmp_path / "resumed"))
    assert len(calls) == 6 + 3, "it resumed from the checkpoint of step 4"
    assert weights(tmp_path / "resumed") == weights(tmp_path / "complete")
    rows = [json.loads(line) for line in (tmp_path / "resumed/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 8))
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_earlier_model_keeps_its_tokenizer(tmp_path: Path) -> None:
    pretrain.run(Pretrain(**SIZES, vocab_size=300, architecture=SHAPE), context(tmp_path / "first"))
    config = Pretrain(**SIZES, model="first", corpus="sprout-web")
    pretrain.run(config, context(tmp_path / "second", {"first": tmp_path / "first/model"}))
    assert weights(tmp_path / "second") != weights(tmp_path / "first")
    tokenizers = [(tmp_path / stage / "model/tokenizer.json").read_text() for stage in ("first", "second")]
    assert tokenizers[0] == tokenizers[1]


@pytest.mark.parametrize("keys", [{}, {"vocab_size": 300}, {"model": "m", "vocab_size": 300}])
def test_stage_starts_from_a_model_or_from_an_architecture(keys: dict) -> None:
    with pytest.raises(ValueError, match="architecture and vocab_size"):
        Pretrain(**SIZES, **keys)

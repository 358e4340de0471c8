"""`offload` and `recompute` change no weight of a supervised stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from r1kit.config import SFT, Preference, Pretrain
from r1kit.data.store import write_jsonl
from r1kit.learn.precision import compute_copy
from r1kit.model.hf import save_model
from r1kit.stages import preference, pretrain, sft, train_loop
from r1kit.stages.context import StageContext

RECORDS = [{"prompt": f"{n}?", "response": f"It is {n * n}."} for n in range(12)]
PAIRS = [{"prompt": f"{n}?", "chosen": f"It is {n * n}.", "rejected": f"Never {n}."} for n in range(12)]
LEARN = {"model": "base", "learning_rate": 1e-2, "context_length": 64}
STEPS = {"data": ["records.jsonl"], "epochs": 1, "sequences_per_step": 4, "held_out": 0, "template": "none"}
STAGES: dict[str, Any] = {
    "sft": (sft, SFT, {**STEPS, **LEARN}, RECORDS),
    "preference": (preference, Preference, {**STEPS, **LEARN, "scores": "whole"}, PAIRS),
    "pretrain": (pretrain, Pretrain, {**LEARN, "steps": 3, "sequences_per_step": 2}, []),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, make_decoder, tokenizer) -> Path:
    directory = tmp_path_factory.mktemp("base")
    save_model(make_decoder(num_hidden_layers=2), tokenizer, directory)
    return directory


@pytest.fixture
def masters(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Offload although a CPU has nothing to offload to; collect whether the optimizer has weights of its own."""
    separate: list[bool] = []

    def copied(master: torch.nn.Module, *rest: Any) -> torch.nn.Module:
        model = compute_copy(master, *rest)
        separate.append(model is not master)
        return model

    monkeypatch.setattr(train_loop, "offloads", lambda config, device: config.offload)
    monkeypatch.setattr(train_loop, "compute_copy", copied)
    return separate


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", STAGES)
def test_weights_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: Path, masters: list[bool], kind: str, dtype: str
) -> None:
    monkeypatch.chdir(tmp_path)
    module, config, keys, rows = STAGES[kind]
    write_jsonl(Path("records.jsonl"), rows)

    def weights(**changes: object) -> bytes:
        directory = tmp_path / "-".join([f"{key}-{value}" for key, value in changes.items()])
        context = StageContext("s", directory, 5, dtype, "cpu", 8, {"base": base})
        module.run(config(kind=kind, **keys, **changes), context)
        return (directory / "model/model.safetensors").read_bytes()

    plain = weights(recompute="off")
    assert plain == weights(recompute="on") == weights(offload=True)
    assert masters == [dtype == "bfloat16"] * 2 + [True]
    assert plain != (base / "model.safetensors").read_bytes()


def test_adapters_stay_where_the_model_is(masters: list[bool], make_decoder) -> None:
    model = make_decoder(num_hidden_layers=1)
    model.embed.weight.requires_grad_(False)  # as with adapters, some weights are frozen
    assert train_loop.compute_copy(model, torch.float32, True) is model

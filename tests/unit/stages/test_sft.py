"""The sft stage: training, evaluation on held-out records, packing and resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from r1kit.config import SFT
from r1kit.data.store import DataError, write_jsonl
from r1kit.data.template import render_prompt
from r1kit.model.hf import load_model, load_tokenizer, save_model
from r1kit.stages import sft
from r1kit.stages.context import StageContext

KEYS = "red blue green black white gold".split()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, make_decoder, tokenizer) -> Path:
    directory = tmp_path_factory.mktemp("base")
    model = make_decoder(num_hidden_layers=1, hidden_size=64, intermediate_size=128, head_dim=16)
    model.init_weights(0)
    save_model(model, tokenizer, directory)
    return directory


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Records in which the answer to each word is the next word in KEYS."""
    response = "<think>\n{}\n</think>\n{}"
    pairs = list(pairwise([*KEYS, KEYS[0]]))
    rows = [{"prompt": f"{n}: {a}?", "response": response.format(a, b)} for n in range(20) for a, b in pairs]
    write_jsonl(tmp_path / "records.jsonl", rows)
    return tmp_path / "records.jsonl"


def config_of(records: Path, **changes: object) -> SFT:
    keys = {"kind": "sft", "model": "base", "data": [str(records)], "context_length": 128, "sequences_per_step": 12}
    return SFT(**{**keys, "epochs": 5, "learning_rate": 1e-2, "warmup_steps": 5, "save_every": 2, **changes})


def context(directory: Path, base: Path) -> StageContext:
    return StageContext("dev1", directory, 5, "float32", "cpu", 8, {"base": base})


def metrics(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def without_times(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "tokens_per_second" and not k.startswith("time/")} for row in rows]


@pytest.mark.slow
def test_answers_of_the_records_are_learned(tmp_path: Path, base: Path, records: Path) -> None:
    summary = sft.run(config_of(records, epochs=16), context(tmp_path, base))
    assert (summary["records"], summary["held_out"]) == (108, 12) and summary["steps"] == 144
    rows = metrics(tmp_path)
    assert [row["step"] for row in rows] == list(range(1, 145)) and sum("eval/loss" in row for row in rows) == 10
    assert rows[-1]["loss"] < 0.1 < 2 < rows[0]["loss"] and summary["eval/loss"] == rows[-1]["eval/loss"] < 0.1
    assert rows[-1]["learning_rate"] < 0.11e-2
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path / "model"), load_tokenizer(tmp_path / "model")
    for word, answer in pairwise(KEYS):
        prompt = tokenizer(render_prompt(f"3: {word}?", "chat", tokenizer), return_tensors="pt")
        output = model.generate(**prompt, do_sample=False, max_new_tokens=40, temperature=None, top_p=None)
        text = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :])
        assert text == f"<think>\n{word}\n</think>\n{answer}<|endoftext|>"


def test_resumed_stage_gives_identical_weights_and_metrics(
    tmp_path: Path, base: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(records, epochs=1)
    sft.run(config, context(tmp_path / "complete", base))
    loss, calls = sft.answer_loss, []

    def interrupted(*args: object) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return loss(*args)

    monkeypatch.setattr(sft, "answer_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sft.run(config, context(tmp_path / "resumed", base))
    assert len(metrics(tmp_path / "resumed")) < 9
    sft.run(config, context(tmp_path / "resumed", base))
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("complete", "resumed")]
    assert weights[0] == weights[1]
    complete, resumed = (without_times(metrics(tmp_path / name)) for name in ("complete", "resumed"))
    assert complete == resumed and len(complete) == 9


def test_packing_does_not_change_the_training(tmp_path: Path, base: Path, records: Path) -> None:
    long_rows = config_of(records, epochs=1, held_out=0)
    short_rows = type("ShortRows", (SFT,), {"row_tokens": property(lambda self: 60)})(**long_rows.model_dump())
    for name, config in (("long", long_rows), ("short", short_rows)):
        sft.run(config, context(tmp_path / name, base))
    losses = [[row["loss"] for row in metrics(tmp_path / name)] for name in ("long", "short")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    models = [load_model(tmp_path / name / "model", torch.float32, "cpu") for name in ("long", "short")]
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_published_weights_have_the_dtype_of_the_run(tmp_path: Path, base: Path, records: Path, dtype: str) -> None:
    sft.run(config_of(records, epochs=1, held_out=0), replace(context(tmp_path, base), dtype=dtype))
    assert json.loads((tmp_path / "model/config.json").read_text())["torch_dtype"] == dtype
    weights = load_file(tmp_path / "model/model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {f"torch.{dtype}"}


def test_conversations_need_the_chat_template(tmp_path: Path, base: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    chats = [{"messages": [*turns, {"role": "user", "content": f"{n}?"}, turns[1]]} for n in range(9)]
    write_jsonl(tmp_path / "chats.jsonl", chats)
    sft.run(config_of(tmp_path / "chats.jsonl", epochs=1), context(tmp_path / "a", base))
    with pytest.raises(DataError, match='a conversation of 4 messages needs template = "chat"'):
        sft.run(config_of(tmp_path / "chats.jsonl", template="r1-zero"), context(tmp_path / "b", base))


def test_published_tokenizer_has_the_chat_template_of_the_stage(tmp_path: Path, base: Path) -> None:
    write_jsonl(tmp_path / "zero.jsonl", [{"prompt": "hi", "response": "hello"}])
    sft.run(config_of(tmp_path / "zero.jsonl", template="r1-zero", context_length=512), context(tmp_path, base))
    published = load_tokenizer(tmp_path / "model")
    assert render_prompt("{hi}", "chat", published) == render_prompt("{hi}", "r1-zero", published)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a"}, "row 1: response or completion = None: must be text; this row has the fields prompt"),
        ({"response": "a", "prompt": 3}, r"question or problem or prompt or query .*= 3: must be text"),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages must end with an answer by the assistant"),
        ({"prompt": "a", "response": "b" * 999}, "none of 1 records fits into 128 tokens"),
    ],
)
def test_unusable_records_are_refused(tmp_path: Path, base: Path, row: dict, message: str) -> None:
    write_jsonl(tmp_path / "records.jsonl", [row])
    with pytest.raises(DataError, match=message):
        sft.run(config_of(tmp_path / "records.jsonl"), context(tmp_path / "run", base))

"""Training records: held-out records, order of epochs and packing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from r1kit.config import SFT
from r1kit.data.examples import encode
from r1kit.data.store import DataError, write_jsonl
from r1kit.stages import records as records_module
from r1kit.stages.context import Amended, StageContext
from r1kit.stages.records import Record, Records, Texts, load_records


def load(directory: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[str], **changes: object) -> Records:
    """Load records that answer each prompt with itself."""
    write_jsonl(directory / "records.jsonl", [{"prompt": prompt} for prompt in prompts])
    keys = {"kind": "sft", "model": "m", "data": [str(directory / "records.jsonl")], "context_length": 64}
    keys |= {"epochs": 3, "sequences_per_step": 4, "held_out": 2}
    (directory / "model").mkdir(exist_ok=True)
    context = StageContext("dev", directory, 5, "float32", "cpu", 8, {"m": directory / "model"})

    def read(row, where: str) -> Texts:
        return Texts(row["prompt"], [(row["prompt"], row["prompt"])])

    return load_records(SFT(**{**keys, **changes}), context, tokenizer, read, close=True)


def tokens(record: Record) -> tuple[int, ...]:
    return tuple(record.documents[0].tokens.tolist())


def flat(rows: list[list[Record]]) -> list[tuple[int, ...]]:
    return [tokens(record) for row in rows for record in row]


PROMPTS = [f"question {i}" for i in range(22)]


def test_held_out_records_are_not_trained_on(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    records = load(tmp_path, tokenizer, PROMPTS)
    assert (len(records.trained), len(records.held_out), records.steps) == (20, 2, 15)
    assert not set(map(tokens, records.trained)) & set(map(tokens, records.held_out))


def test_every_epoch_has_every_record_once_in_a_new_order(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    records = load(tmp_path, tokenizer, PROMPTS)
    steps = [flat(rows) for rows in records.steps_from(0)]
    assert len(steps) == records.steps
    epochs = [[text for step in steps[i : i + 5] for text in step] for i in range(0, 15, 5)]
    assert all(Counter(epoch) == Counter(map(tokens, records.trained)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_steps_are_a_pure_function_of_their_number(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    records = load(tmp_path, tokenizer, PROMPTS, sequences_per_step=7)  # epochs end inside a step
    steps = [flat(rows) for rows in records.steps_from(0)]
    assert [flat(rows) for rows in records.steps_from(4)] == steps[4:]
    assert len(steps) == records.steps == 9 and len(steps[-1]) == 60 - 8 * 7


def test_answers_end_with_the_eos_token(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    (document,) = load(tmp_path, tokenizer, ["a b"], held_out=0).trained[0].documents
    assert document.tokens[-1] == tokenizer.eos_token_id and document.prompt_length == len(tokenizer.encode("a b"))


def test_records_are_tokenized_once(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(records_module, "encode", lambda *args, **keys: calls.append(args) or encode(*args, **keys))
    first, again = (load(tmp_path, tokenizer, PROMPTS) for _ in range(2))
    assert len(calls) == 1, "a resumed stage reads what it has saved"
    for one, other in zip([*first.trained, *first.held_out], [*again.trained, *again.held_out], strict=True):
        assert tokens(one) == tokens(other) and one.label == other.label
        assert one.documents[0].prompt_length == other.documents[0].prompt_length
    load(tmp_path, tokenizer, [*PROMPTS, "one more"])
    load(tmp_path, tokenizer, [*PROMPTS, "one more"], template="none")
    assert len(calls) == 3, "other records or another config are tokenized again"


def test_records_that_do_not_fit_are_left_out(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, capsys: pytest.CaptureFixture[str]
) -> None:
    records = load(tmp_path, tokenizer, [*PROMPTS[:3], "x " * 99], held_out=0)
    assert len(records.trained) == 3 and "1 of 4 records are longer than 64 tokens: left out" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"none of 1 records fits into 64 tokens: raise context_length"):
        load(tmp_path, tokenizer, ["x " * 99])


def test_amended_batch_size_continues_at_the_next_record(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    before = load(tmp_path, tokenizer, PROMPTS)
    after = replace(before, config=before.config.model_copy(update={"sequences_per_step": 7}), since=Amended(3, 12))
    drawn = [text for rows in list(before.steps_from(0))[:3] for text in flat(rows)]
    steps = [flat(rows) for rows in after.steps_from(3)]
    assert [len(step) for step in steps] == [7] * 6 + [6] and after.steps == 3 + len(steps)
    assert Counter(chain(drawn, *steps)) == Counter([*map(tokens, before.trained)] * 3), "each epoch once"
    assert [flat(rows) for rows in after.steps_from(5)] == steps[2:]
    fewer = replace(after, config=before.config.model_copy(update={"epochs": 1}), since=Amended(8, 32))
    assert fewer.steps == 8 and list(fewer.steps_from(8)) == []

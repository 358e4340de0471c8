"""Supervised records: read rows, turn them into tokens, and hold some out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from r1kit.config import PromptSource, Template
from r1kit.data.pack import Document
from r1kit.data.problem_rows import QUESTION_FIELDS
from r1kit.data.problems import hub_rows
from r1kit.data.response import split_response
from r1kit.data.store import READERS, DataError, data_suffix, read_rows
from r1kit.data.template import bos_ids, end_of_answer, opens_think, render_chat, render_prompt, with_bos
from r1kit.data.worlds.general import general_records
from r1kit.hashing import derive_seed

RESPONSE_FIELDS = ("response", "completion")
TOKENIZE_BATCH = 4096  # texts per tokenizer call, which it encodes in parallel
MAX_HELD_OUT_SHARE = 0.1  # of all records

Row = Mapping[str, Any]
Message = Mapping[str, str]


def read_sources(sources: Iterable[str | Path]) -> Iterator[tuple[str, Row]]:
    """Yield (location, row) for every record of files, worlds and hub datasets, in order."""
    for source in map(str, sources):
        yield from ((f"{source}, row {number}", row) for number, row in enumerate(_rows(source), start=1))


def _rows(source: str) -> Iterable[Row]:
    if source.startswith("world:"):
        return general_records(source.removeprefix("world:"))
    path = Path(source).expanduser()
    return read_rows(path) if data_suffix(path) in READERS else hub_rows(PromptSource(source=source))


def conversation(row: Row, where: str) -> tuple[list[Message], str]:
    """Split a record with `messages`, or with a prompt and a response, into (messages before, last answer)."""
    if row.get("messages"):
        messages: list[Message] = [{"role": m["role"], "content": m["content"]} for m in row["messages"]]
        *before, last = messages
        if last["role"] != "assistant" or not before:
            raise DataError(f"{where}: messages must end with an answer by the assistant: delete this row")
        return before, last["content"]
    return [{"role": "user", "content": row_prompt(row, where)}], row_text(row, RESPONSE_FIELDS, where)


def row_prompt(row: Row, where: str) -> str:
    """Return the prompt of a row; DataError when it has none."""
    return row_text(row, QUESTION_FIELDS, where)


def row_text(row: Row, names: Sequence[str], where: str) -> str:
    """Return the first of these fields that the row has; DataError unless it is non-empty text."""
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if not isinstance(value, str) or not value.strip():
        fields = ", ".join(row) or "none"
        raise DataError(f"{where}: {' or '.join(names)} = {value!r}: must be text; this row has the fields {fields}")
    return value


def render_messages(messages: Sequence[Message], template: Template, tokenizer: PreTrainedTokenizerBase) -> str:
    """Render the prompt of a conversation. Only the template "chat" takes more than one message."""
    if template == "chat":
        return render_chat(messages, tokenizer)
    if len(messages) != 1:
        raise DataError(f'a conversation of {len(messages) + 1} messages needs template = "chat", not "{template}"')
    return render_prompt(messages[0]["content"], template, tokenizer)


def continue_prompt(prompt: str, answer: str) -> str:
    """Return the answer as the continuation of its prompt: a think tag that the prompt opened is not repeated.

    There, an answer without thoughts closes the tag at once, as R1 itself does.
    """
    if not opens_think(prompt):
        return answer
    if answer.lstrip().startswith("<think>"):
        return answer.lstrip().removeprefix("<think>").removeprefix("\n")
    return answer if "</think>" in answer else f"\n</think>\n\n{answer}"


def encode(pairs: Iterable[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, *, close: bool) -> Iterator[Document]:
    """Encode (prompt, answer) pairs. `close` appends the token that ends answers.

    Prompt and answer are encoded separately, as in generation.
    """
    end, bos = [end_of_answer(tokenizer)] if close else [], bos_ids(tokenizer)
    texts = chain.from_iterable(pairs)
    while batch := list(islice(texts, 2 * TOKENIZE_BATCH)):
        ids = tokenizer(batch, add_special_tokens=False)["input_ids"]
        for prompt, answer in zip(ids[::2], ids[1::2], strict=True):
            begun = with_bos(prompt, bos)
            yield Document(np.array([*begun, *answer, *end], dtype=np.int32), len(begun))


def hold_out(prompts: Sequence[str], most: int, seed: int) -> list[int]:
    """Return the indices of the held-out records: at most `most` and a tenth of all. The seed decides which.

    Prompts are held out with all their records, so that no held-out prompt is trained on.
    """
    limit = min(most, int(MAX_HELD_OUT_SHARE * len(prompts)))
    by_prompt: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(i)
    held: list[int] = []
    for prompt in sorted(by_prompt, key=lambda prompt: derive_seed("held out", seed, prompt)):
        if len(held) + len(by_prompt[prompt]) <= limit:
            held += by_prompt[prompt]
    return sorted(held)


def scored_parts(prompt: str, response: str, scores: Literal["summary", "whole"]) -> tuple[str, str] | None:
    """Return (prompt, answer) as a reward model reads them; None where it reads summaries and there is none.

    A think tag is part of `response`, not of `prompt`.
    """
    if scores == "whole":
        return prompt, continue_prompt(prompt, response)
    parts = split_response(response, think_open=False)
    if parts.unfinished or not parts.summary:
        return None
    before = prompt.rstrip().removesuffix("<think>") if opens_think(prompt) else prompt
    return before, parts.summary

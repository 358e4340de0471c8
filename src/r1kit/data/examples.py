"""Supervised records: what a row of a file says, in which tokens, and which records are kept for measuring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from r1kit.config import PromptSource, Template
from r1kit.data.pack import Document
from r1kit.data.problems import QUESTION_FIELDS, hub_rows
from r1kit.data.response import split_response
from r1kit.data.store import READERS, DataError, read_rows
from r1kit.data.template import opens_think, render_chat, render_prompt
from r1kit.data.worlds.general import general_records
from r1kit.hashing import derive_seed

RESPONSE_FIELDS = ("response", "completion")
AT_ONCE = 4096  # texts handed to the tokenizer in one call: it works on them in parallel
MEASURED_SHARE = 0.1  # at most, of all records

Row = Mapping[str, Any]
Message = Mapping[str, str]


def read_sources(sources: Iterable[str | Path]) -> Iterator[tuple[str, Row]]:
    """(where it stands, row) of every record of files (JSONL, JSON, Parquet), worlds and hub datasets, in order."""
    for source in map(str, sources):
        yield from ((f"{source}, row {number}", row) for number, row in enumerate(_rows(source), start=1))


def _rows(source: str) -> Iterable[Row]:
    if source.startswith("world:"):
        return general_records(source.removeprefix("world:"))
    path = Path(source).expanduser()
    return read_rows(path) if path.suffix in READERS else hub_rows(PromptSource(source=source))


def conversation(row: Row, where: str) -> tuple[list[Message], str]:
    """(the messages before it, the answer) of a record with `messages`, or with a prompt and a response."""
    messages = row.get("messages")
    if messages:
        *before, last = ({"role": m["role"], "content": m["content"]} for m in messages)
        if last["role"] != "assistant" or not before:
            raise DataError(f"{where}: messages must end with the assistant's answer to something; delete this row")
        return before, last["content"]
    return [{"role": "user", "content": prompt_of(row, where)}], text_of(row, RESPONSE_FIELDS, where)


def prompt_of(row: Row, where: str) -> str:
    return text_of(row, QUESTION_FIELDS, where)


def text_of(row: Row, names: Sequence[str], where: str) -> str:
    """The first of these fields that is there; DataError unless it is text."""
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if not isinstance(value, str) or not value.strip():
        fields = ", ".join(row) or "none"
        raise DataError(f"{where}: wanted a text in {' or '.join(names)}; found {value!r} among the fields {fields}")
    return value


def render_messages(messages: Sequence[Message], template: Template, tokenizer: PreTrainedTokenizerBase) -> str:
    """The text before the answer. Only a chat template knows of more than one message."""
    if template == "chat":
        return render_chat(messages, tokenizer)
    if len(messages) != 1:
        raise DataError(f'a conversation of {len(messages) + 1} messages needs template = "chat", not "{template}"')
    return render_prompt(messages[0]["content"], template, tokenizer)


def continue_prompt(prompt: str, answer: str) -> str:
    """The answer as it goes on from its prompt: one that opened the think tag is not to open it again.

    An answer without thoughts then closes the tag at once, as R1 itself does where it has nothing to think about.
    """
    if not opens_think(prompt):
        return answer
    if answer.lstrip().startswith("<think>"):
        return answer.lstrip().removeprefix("<think>").removeprefix("\n")
    return answer if "</think>" in answer else f"\n</think>\n\n{answer}"


def encode(pairs: Iterable[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, *, close: bool) -> Iterator[Document]:
    """(prompt, answer) as tokens. `close` ends the answer with the end-of-text token.

    The two are encoded apart: the answer's tokens are those that follow when the model itself is asked.
    """
    end = [tokenizer.eos_token_id] if close else []
    texts = chain.from_iterable(pairs)
    while some := list(islice(texts, 2 * AT_ONCE)):
        ids = tokenizer(some, add_special_tokens=False)["input_ids"]
        for prompt, answer in zip(ids[::2], ids[1::2], strict=True):
            yield Document(np.array([*prompt, *answer, *end], dtype=np.int32), len(prompt))


def hold_out(prompts: Sequence[str], most: int, seed: int) -> list[int]:
    """Indices of the records to measure on: at most `most` and a tenth, with all records of their prompts.

    Whole prompts, so that no record measured on has a sibling that is trained on. The seed decides which.
    """
    wanted = min(most, int(MEASURED_SHARE * len(prompts)))
    by_prompt: dict[str, list[int]] = {}
    for i, prompt in enumerate(prompts):
        by_prompt.setdefault(prompt, []).append(i)
    held: list[int] = []
    for prompt in sorted(by_prompt, key=lambda prompt: derive_seed("held out", seed, prompt)):
        if len(held) + len(by_prompt[prompt]) <= wanted:
            held += by_prompt[prompt]
    return sorted(held)


def scored_parts(prompt: str, response: str, scores: Literal["summary", "whole"]) -> tuple[str, str] | None:
    """(prompt, answer) as a reward model reads them; None where it would read a summary and there is none.

    `response` opens its own think tag, if it thinks.
    """
    if scores == "whole":
        return prompt, continue_prompt(prompt, response)
    if "<think>" in response and "</think>" not in response:
        return None
    summary = split_response(response, think_open=False).summary
    before = prompt.rstrip().removesuffix("<think>") if opens_think(prompt) else prompt
    return (before, summary) if summary else None

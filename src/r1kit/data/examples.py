"""Supervised records: read rows, turn them into tokens, and hold some out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from r1kit.config import PromptSource, Template
from r1kit.data.messages import MessageEncoder
from r1kit.data.pack import Document
from r1kit.data.problem_rows import QUESTION_FIELDS
from r1kit.data.problems import hub_rows
from r1kit.data.response import split_response
from r1kit.data.store import READERS, DataError, data_suffix, read_rows
from r1kit.data.template import (
    bos_ids,
    end_of_answer,
    opens_think,
    render_chat,
    render_conversation,
    render_prompt,
    with_bos,
)
from r1kit.data.worlds import world_records
from r1kit.hashing import derive_seed
from r1kit.types import ASSISTANT

RESPONSE_FIELDS = ("response", "completion")
EPISODE_ROLES = (ASSISTANT, "environment", "user", "tool")  # the policy's, and those of an environment's messages
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
        return world_records(source.removeprefix("world:"))
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


def encode(
    pairs: Iterable[tuple[str, str | Sequence[Message]]], tokenizer: PreTrainedTokenizerBase, *, close: bool
) -> Iterator[Document]:
    """Encode (prompt, answer) pairs. `close` appends the token that ends answers. An answer may be an episode.

    Prompt and answer are encoded separately, as in generation.
    """
    end, bos, messages = [end_of_answer(tokenizer)] if close else [], bos_ids(tokenizer), MessageEncoder(tokenizer)
    pairs = iter(pairs)
    while batch := list(islice(pairs, TOKENIZE_BATCH)):
        texts = chain.from_iterable((prompt, answer if isinstance(answer, str) else "") for prompt, answer in batch)
        ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        for (_, answer), prompt, answer_ids in zip(batch, ids[::2], ids[1::2], strict=True):
            begun = with_bos(prompt, bos)
            read = None
            if not isinstance(answer, str):
                answer_ids, is_read = _encode_episode(answer, messages)
                read = np.array([False] * len(begun) + is_read + [False] * len(end))
            yield Document(np.array([*begun, *answer_ids, *end], dtype=np.int32), len(begun), read)


def _encode_episode(episode: Sequence[Message], encoder: MessageEncoder) -> tuple[list[int], list[bool]]:
    """Return the tokens of an episode as it is sampled, and whether the environment wrote each."""
    ids, is_read = list[int](), list[bool]()
    authors = [(key, [*group]) for key, group in groupby(episode, key=lambda message: message["role"] == ASSISTANT)]
    for number, (is_policy, messages) in enumerate(authors):
        said = [(message["role"], message["content"]) for message in messages]
        if is_policy:
            added = encoder.encode("".join(content for _, content in said), "environment", after_end=False)
            if number + 1 < len(authors) and authors[number + 1][1][0]["role"] != "environment":
                added.append(encoder.end)  # what ends a turn is the policy's own
        else:
            added = encoder.encode_all(said, after_end=said[0][0] != "environment")
        ids += added
        is_read += [not is_policy] * len(added)
    return ids, is_read


def episode_of(row: Row, where: str) -> list[Message] | None:
    """Return the `episode` of a row, which begins and ends with the assistant; None if it has none."""
    episode = row.get("episode")
    if episode is None:
        return None
    if not isinstance(episode, list) or not all(isinstance(message, dict) for message in episode):
        raise DataError(f"{where}: episode = {episode!r:.80}: must be a list of objects with role and content")
    if field := next((name for name in RESPONSE_FIELDS if row.get(name) is not None), None):
        raise DataError(f"{where}: has both {field} and episode: remove one of them")
    for number, message in enumerate(episode, 1):
        role, content = message.get("role"), message.get("content")
        if role not in EPISODE_ROLES:
            allowed = ", ".join(EPISODE_ROLES)
            raise DataError(f"{where}: message {number} of episode: role = {role!r:.80}: must be one of {allowed}")
        if not isinstance(content, str):
            raise DataError(f"{where}: message {number} of episode: content = {content!r:.80}: must be text")
    roles = [message["role"] for message in episode]
    if not roles or {roles[0], roles[-1]} != {ASSISTANT}:
        raise DataError(f"{where}: episode has the roles {', '.join(roles)}: must begin and end with {ASSISTANT}")
    return episode


def prompt_of_episode(row: Row, where: str, template: Template, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the prompt of a row with an `episode`: that of its `messages` if it has some, with its `tools`."""
    messages = row.get("messages") or [{"role": "user", "content": row_prompt(row, where)}]
    if not row.get("tools"):
        return render_messages(messages, template, tokenizer)
    if template != "chat":
        raise DataError(f'{where}: tools need template = "chat", not "{template}"')
    return render_conversation(messages, tokenizer, tools=row["tools"])


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

"""Lengths of completions in tokens, divided into thinking and answer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1kit.data.prompt import Prompt
from r1kit.data.response import split_response
from r1kit.types import Completion

CLOSING = "</think>"
GRADES = {"right": True, "wrong": False}


def thinking_tokens(prompt: Prompt, completion: Completion, tokenizer: PreTrainedTokenizerBase | None) -> int:
    """Return the number of tokens up to the last `</think>`, tags included; the others are the answer, with EOS.

    Unfinished thinking is the complete completion. Without think tags there is none.

    Args:
        prompt: The prompt, which may have opened the think tag.
        completion: Its completion. An endpoint does not name the tokens: then its own count of reasoning tokens, or
            else the share of characters.
        tokenizer: The model's tokenizer; None for an endpoint.
    """
    parts = split_response(completion.text, prompt.think_open)
    if parts.thinking is None:
        return completion.counted_thinking
    if parts.unfinished:
        return completion.length
    if tokenizer is not None:
        return _tokens_to_last_tag(completion, tokenizer)
    before = completion.text.rpartition(CLOSING)[0]
    by_characters = round(completion.length * (len(before) + len(CLOSING)) / len(completion.text))
    return completion.counted_thinking or by_characters


def _tokens_to_last_tag(completion: Completion, tokenizer: PreTrainedTokenizerBase) -> int:
    ids, tags = completion.sampled_ids, completion.text.count(CLOSING)
    closing = tokenizer.convert_tokens_to_ids(CLOSING)
    places = [place for place, token in enumerate(ids, start=1) if token == closing]
    if len(places) == tags:
        return places[-1]

    def tags_within(length: int) -> int:
        return str(tokenizer.decode(list(ids[:length]), skip_special_tokens=True)).count(CLOSING)

    return bisect_left(range(len(ids)), tags, key=tags_within)


def lengths_by_grade(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return for right and for wrong answers their number, and the mean numbers of tokens of thinking and answer.

    Args:
        rows: Rows of samples.jsonl; those without a grade are left out.
    """
    groups = {name: [row for row in rows if row["correct"] is grade] for name, grade in GRADES.items()}
    return {
        name: {
            "answers": len(own),
            "thinking_tokens": fmean(row["thinking_tokens"] for row in own),
            "answer_tokens": fmean(row["tokens"] - row["thinking_tokens"] for row in own),
        }
        for name, own in groups.items()
        if own
    }

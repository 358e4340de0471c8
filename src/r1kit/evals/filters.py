"""Which sampled answers are fit to be learned from, and why the others are not. Pure functions.

Each gives the first reason there is, "" when there is none. The paper names the reasons (2.3.3 and supplement B.3);
where it gives no number the constant says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, get_args

from r1kit.data.response import split_response
from r1kit.evals.style import repetition
from r1kit.rewards.language.identify import ONE_LANGUAGE, consistency, language_code, word_counts
from r1kit.types import Completion, Problem, Score

Reason = Literal[
    "contaminated",  # has something in common with an evaluation set
    "truncated",  # cut off by the length cap
    "ungraded",  # the grader failed, through no fault of the answer
    "wrong",
    "format",  # not the form that the prompt asks for
    "repetition",
    "rewriter",  # the rewriter gave no answer, or spoiled a right one
    "mixed language",
    "garbled",  # bytes that are no character
    "long paragraph",
    "code block",  # in the thought
    "duplicate",
    "surplus",  # fit, but another record was preferred
    "unclear",  # a pair: the judge sees too little difference
    "length",  # a pair: left out to match the lengths of chosen and rejected
]
REASONS: tuple[str, ...] = get_args(Reason)
REPEATED = 0.5  # share of 4-grams of tokens at the end that have come before; undisclosed
FEW_WORDS = 20  # too few to tell languages of one script apart: then only another script is another language
PARAGRAPH = 1_500  # characters, about 250 words; undisclosed


def unusable(completion: Completion, score: Score) -> Reason | Literal[""]:
    """What is wrong with an answer whatever it looks like. `score` has the parts accuracy and format."""
    if completion.finish_reason == "length":
        return "truncated"
    if score.masked:
        return "ungraded"
    if score.parts["accuracy"] < 1:
        return "wrong"
    if score.parts["format"] < 1:
        return "format"
    return "repetition" if repeats(completion.token_ids) else ""


def repeats(token_ids: Sequence[int]) -> bool:
    return repetition(token_ids) > REPEATED


def unreadable(response: str, language: str, among: Collection[str] = ()) -> Reason | Literal[""]:
    """What keeps a record from being read with pleasure; `response` opens its own think tag.

    `among`: the only languages that occur, when that is known (see `rewards.language`): then not one word may stray.
    """
    parts = split_response(response, think_open=False)
    thinking = parts.thinking or ""
    if _is_mixed(thinking, language_code(language), among):
        return "mixed language"
    if "\ufffd" in response:
        return "garbled"
    if any(len(paragraph) > PARAGRAPH for paragraph in f"{thinking}\n{parts.summary}".splitlines()):
        return "long paragraph"
    return "code block" if "```" in thinking else ""


def reading(problem: Problem, completion: Completion, think_open: bool) -> tuple[bool, float | None]:
    """Whether an answer can be read, right or wrong, and how much of its thought is in the question's language.

    The second is None for an answer without a thought. `think_open`: the prompt ended in `<think>`.
    """
    response = f"<think>{completion.text}" if think_open else completion.text
    among = problem.extra.get("languages", ())
    whole = completion.finish_reason != "length" and not repeats(completion.token_ids)
    thinking = split_response(response, think_open=False).thinking
    share = consistency(thinking, language_code(problem.language), among) if thinking else None
    return whole and not unreadable(response, problem.language, among), share


def _is_mixed(text: str, language: str, among: Collection[str]) -> bool:
    if among:
        return consistency(text, language, among) < 1
    by_script = word_counts(text, language, (language,))
    if by_script.total() < FEW_WORDS:
        return bool(by_script) and by_script[language] / by_script.total() < ONE_LANGUAGE
    return consistency(text, language) < ONE_LANGUAGE

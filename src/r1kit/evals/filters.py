"""Filters that decide whether a sampled answer is fit for training. Pure functions.

Each returns the first reason against the answer, or "". The paper names the reasons (section 2.3.3 and supplement
B.3); where it gives no threshold, the constant says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from r1kit.data.language.identify import ONE_LANGUAGE, consistency, language_code, word_counts
from r1kit.data.prompt import Prompt
from r1kit.data.response import split_response
from r1kit.evals.style import repetition
from r1kit.types import Completion, Score

Reason = Literal[
    "contaminated",
    "truncated",
    "ungraded",
    "wrong",
    "format",
    "repetition",
    "rewriter",
    "mixed language",
    "garbled",
    "long paragraph",
    "code block",
    "duplicate",
    "surplus",
    "unclear",
    "length",
]
REASONS: Mapping[Reason, str] = {  # in the order of data cards
    "contaminated": "overlaps with a benchmark",
    "truncated": "cut off by max_completion_length",
    "ungraded": "could not be graded",
    "wrong": "wrong answer",
    "format": "not reasoning in think tags followed by an answer, as the prompt's template has it",
    "repetition": "repeats itself",
    "rewriter": "the rewriter failed, or made a right answer wrong",
    "mixed language": "thinks in several languages",
    "garbled": "bytes that are not valid text",
    "long paragraph": "a paragraph that is too long to read",
    "code block": "code inside the thinking",
    "duplicate": "repeats another record",
    "surplus": "fit, but enough other records of the prompt were kept",
    "unclear": "a pair without a clear preference",
    "length": "a pair left out to match the lengths of chosen and rejected answers",
}
MAX_REPETITION = 0.5  # share of repeated 4-grams of tokens at the end; undisclosed
FEW_WORDS = 20  # with fewer words, only another script counts as another language
MAX_PARAGRAPH = 1_500  # characters, about 250 words; undisclosed


def why_unusable(completion: Completion, score: Score, think_tags: bool = True) -> Reason | Literal[""]:
    """Return why an answer cannot be used, independent of its style.

    Args:
        completion: The answer.
        score: Its score, with the parts accuracy and format.
        think_tags: Whether the template has think tags. Without, only an answer that has some must follow the format.
    """
    if completion.finish_reason == "length":
        return "truncated"
    if score.masked:
        return "ungraded"
    if score.parts["accuracy"] < 1:
        return "wrong"
    if score.parts["format"] < 1 and (think_tags or has_think_tag(completion.text)):
        return "format"
    return "repetition" if is_repetitive(completion.sampled_ids) else ""


def has_think_tag(text: str) -> bool:
    """Return whether a text has an opening or a closing think tag."""
    return "<think>" in text or "</think>" in text


def is_repetitive(token_ids: Sequence[int]) -> bool:
    """Return whether more than MAX_REPETITION of the 4-grams at the end occur repeatedly."""
    return repetition(token_ids) > MAX_REPETITION


def why_unreadable(response: str, language: str, among: Collection[str] = ()) -> Reason | Literal[""]:
    """Return why a response is not readable.

    Args:
        response: The response with its opening think tag.
        language: The language of the question.
        among: The only languages that can occur, if known (see `rewards.language`). Then every single word must be in
            the question's language.
    """
    parts = split_response(response, think_open=False)
    thinking = parts.thinking or ""
    if _is_mixed(thinking, language_code(language), among):
        return "mixed language"
    if "\ufffd" in response:
        return "garbled"
    if any(len(paragraph) > MAX_PARAGRAPH for paragraph in f"{thinking}\n{parts.summary}".splitlines()):
        return "long paragraph"
    return "code block" if "```" in thinking else ""


def readability(prompt: Prompt, completion: Completion) -> tuple[bool, float | None]:
    """Return (readable, share of the thinking that is in the question's language), whether the answer is right or not.

    The share is None without thinking.
    """
    problem, response = prompt.problem, prompt.full_response(completion.text)
    among = problem.extra.get("languages", ())
    complete = completion.finish_reason != "length" and not is_repetitive(completion.sampled_ids)
    thinking = split_response(response, think_open=False).thinking
    share = consistency(thinking, language_code(problem.language), among) if thinking else None
    return complete and not why_unreadable(response, problem.language, among), share


def _is_mixed(text: str, language: str, among: Collection[str]) -> bool:
    if among:
        return consistency(text, language, among) < 1
    by_script = word_counts(text, language, (language,))
    if by_script.total() < FEW_WORDS:
        return bool(by_script) and by_script[language] / by_script.total() < ONE_LANGUAGE
    return consistency(text, language) < ONE_LANGUAGE

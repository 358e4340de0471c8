r"""Turn rows of public data sets into problems. Fields are recognized by name, in any case.

question   question, problem, prompt, query, question_stem or question_concat; or ARC's object with a stem
answer     answer, final_answer, ground_truth, target, solution, answerKey, gold or result: a short text, or a worked
           solution that ends in GSM8K's `#### ANSWER` or MATH's \boxed{ANSWER}
options    options or choices make the problem multiple choice: texts, {letter: text}, {text: [...], label: [...]} or a
           list of {text, label}; the answer is a label, or an index from 0
constraints   IFEval's instruction_id_list, with kwargs, needs no answer
numbers    numbers or nums with a target make it a countdown problem
optional   level, difficulty, family, subject, type, category, target_language, language, verifier, extra
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from r1kit import integers
from r1kit.data.language.identify import known_language, question_language
from r1kit.data.response import find_boxes
from r1kit.data.store import DataError
from r1kit.types import Problem

# The first field that is present is used.
QUESTION_FIELDS = ("question", "problem", "prompt", "query", "question_stem", "question_concat")
ANSWER_FIELDS = ("answer", "final_answer", "ground_truth", "target", "solution", "answerkey", "gold", "result")
LEVEL_FIELDS = ("level", "difficulty")
FAMILY_FIELDS = ("family", "subject", "type", "category")
NUMBERS_FIELDS = ("numbers", "nums")
OPTIONS_FIELDS = ("options", "choices")
CONSTRAINTS_FIELD = "instruction_id_list"  # IFEval

MAX_QUESTION = 500_000  # characters, about 125,000 tokens
MAX_ANSWER = 200  # characters; a longer text is a worked solution without a marked result
NOT_UNICODE = "the text has half of a surrogate pair, which is no character: correct or delete it"
COUNTDOWN_QUESTION = (
    "Write an expression that equals {target} out of the numbers {numbers}, each used exactly once, "
    "with + - * / and parentheses only."
)
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def to_problem(row: Mapping[str, Any], where: str, family: str, answered: bool = True) -> Problem | None:
    """Return a row as a problem; None if its question is blank, or if it has no final answer.

    Args:
        row: The row.
        where: Its location, for error messages.
        family: The family of rows that do not name one.
        answered: Whether a final answer is required.

    Raises:
        DataError: A field is missing or is not text, or the question is too long.
    """
    fields = _fields(row)
    verifier, extra = fields.get("verifier") or "math", fields.get("extra") or {}
    if fields.get(CONSTRAINTS_FIELD) is not None:
        verifier, answered = fields.get("verifier") or "ifeval", False
        extra = {"constraints": fields[CONSTRAINTS_FIELD], "kwargs": fields.get("kwargs"), **extra}
    question, answer = _first(fields, QUESTION_FIELDS), _first(fields, ANSWER_FIELDS)
    numbers = _first(fields, NUMBERS_FIELDS)
    if isinstance(numbers, list) and fields.get("target") is not None:
        verifier, extra = "countdown", {"numbers": numbers, "target": fields["target"]}
        answer = fields["target"]
        question = question or COUNTDOWN_QUESTION.format(target=answer, numbers=", ".join(map(str, numbers)))
    is_missing = not question and fields.keys().isdisjoint(QUESTION_FIELDS)
    is_missing = is_missing or (answered and fields.keys().isdisjoint(ANSWER_FIELDS))
    if is_missing or not isinstance(question, str | None) or not isinstance(answer, str | int | float | None):
        wrong = "" if is_missing else _wrong_type(fields, question, answer)
        raise DataError(
            f"{where}: {wrong}the fields are {', '.join(row) or '(none)'}: must be a question as text in one of "
            f"{', '.join(QUESTION_FIELDS)} and an answer in one of {', '.join(ANSWER_FIELDS)}, or numbers and target"
        )
    labels, options = _labelled(_first(fields, OPTIONS_FIELDS))
    answer = _letter(answer, labels) if labels else answer
    final = "" if answer is None else final_answer(_as_text(answer))
    if (answered and not final) or not question or not question.strip():
        return None
    if isinstance(fields.get("body"), str):  # SVAMP has the story and its question in two fields
        question = f"{fields['body']} {question}"
    if options:
        question = "\n".join([question, *map("{}. {}".format, ascii_uppercase, map(_as_text, options))])
        verifier, extra = fields.get("verifier") or "choice", {"options": options, **extra}
    if not is_unicode(question + final):
        raise DataError(f"{where}: {NOT_UNICODE}")
    if len(question) > MAX_QUESTION:
        raise DataError(
            f"{where}: the question has {len(question):,} characters: must be at most {MAX_QUESTION:,}. Shorten or "
            "delete this row"
        )
    return Problem(
        id=hashlib.sha256(f"{question}\0{final}".encode()).hexdigest()[:16],
        question=question,
        answer=final,
        verifier=verifier,
        level=_level(_first(fields, LEVEL_FIELDS)),
        family=str(_first(fields, FAMILY_FIELDS) or family),
        language=_named_language(fields, verifier) or question_language(question),
        extra=extra,
    )


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields by lower-case name. ARC's own files have the question and its choices in one object."""
    fields = {key.lower(): value for key, value in row.items()}
    question = fields.get("question")
    return {**fields, **question, "question": question.get("stem")} if isinstance(question, Mapping) else fields


def _as_text(value: Any) -> str:
    return integers.write(value) if type(value) is int else str(value)


def _letter(answer: Any, labels: Sequence[str]) -> Any:
    """Return the letter of the option with this label or index, None for an index of no option, or else the answer."""
    if (label := _as_text(answer)) in labels:
        return ascii_uppercase[labels.index(label)]
    if isinstance(answer, int):
        return ascii_uppercase[answer] if 0 <= answer < len(labels) else None
    return answer


def _labelled(options: Any) -> tuple[list[str], list[Any]]:
    """Return the labels and the texts of the options, in the forms that data sets use; two empty lists without any."""
    if isinstance(options, Mapping) and isinstance(options.get("text"), list):
        labels, texts = options.get("label"), options["text"]
    elif isinstance(options, Mapping) and options and all(str(letter) in ascii_uppercase for letter in options):
        labels, texts = sorted(options), [options[letter] for letter in sorted(options)]
    elif isinstance(options, list) and options and all(isinstance(o, Mapping) and "text" in o for o in options):
        labels, texts = [option.get("label") for option in options], [option["text"] for option in options]
    else:
        labels, texts = None, options if isinstance(options, list) else []
    texts = texts[: len(ascii_uppercase)]
    return list(map(str, labels or ascii_uppercase))[: len(texts)], texts


def _named_language(fields: Mapping[str, Any], verifier: str) -> str | None:
    """Return the code of the language that a row names, if any. The `language` of a program is not one."""
    names = [fields.get("target_language"), None if verifier == "code" else fields.get("language")]
    return next((code for name in names if isinstance(name, str) and (code := known_language(name))), None)


def is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogates, which JSON escapes can make and which no tokenizer accepts."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong_type(fields: Mapping[str, Any], question: Any, answer: Any) -> str:
    """Return which field has a type that is not text, as the beginning of a message."""
    value = answer if isinstance(question, str | None) else question
    name = next(name for name, given in fields.items() if given is value)
    return f"{name} is of type {type(value).__name__}; "


def final_answer(solution: str) -> str:
    r"""Return the text after GSM8K's `####`, in MATH's last `\boxed`, or a short single line; "" for any other text."""
    text = solution.strip()
    if "####" in text:
        text = text.rpartition("####")[2].strip()
    elif boxes := find_boxes(text):
        text = boxes[-1]
    elif "\n" in text or len(text) > MAX_ANSWER:
        return ""
    return text


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _level(value: object) -> int:
    """Return the integer part of a level such as "Level 3" (MATH) or 4.5 (DeepMath); 0 without a number."""
    number = _NUMBER.search(str(value))
    return math.floor(float(number[0])) if number else 0

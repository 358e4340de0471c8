"""The check of a reasoning-gym task. Some families evaluate an answer as code, so this runs where programs do."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from typing import Any

OTHER_TASK = "the installed reasoning-gym makes another task of this number"
NO_FORMULA = "the answer is no plain formula"
_EVALUATES = re.compile(r"\b(?:parse_expr|sympify|eval|exec)\(")
# What may be evaluated: literals, bare words, and formulas of numbers, operators, single letters and a few functions.
# Nothing that reaches an attribute or calls a built-in, by which an answer could change the check that it is put to.
_WORDS = re.compile(r"[\w\s,]*")
_FORMULA = re.compile(
    r"(?:\d+\.?\d*|\.\d+|[\s()+\-*/^,=∧∨→↔¬]|(?<![A-Za-z])(?:[A-Za-z]|a?(?:sin|cos|tan)h?|sec|csc|cot|exp|log|ln|sqrt|pi|Abs)"
    r"(?![A-Za-z]))*"
)


def score(text: str) -> float | str:
    """What the family's own check gives, 0 to 1, or one of the two texts above.

    text: JSON with the task's `family`, `seed`, `size` and `index`, its `question`, and the `answer`.
    """
    import reasoning_gym

    asked = json.loads(text)
    tasks = reasoning_gym.create_dataset(asked["family"], seed=asked["seed"], size=asked["size"])
    task = tasks[asked["index"]]
    if task["question"] != asked["question"]:
        return OTHER_TASK
    if _evaluates(tasks) and not _is_plain(asked["answer"]):
        return NO_FORMULA
    return float(tasks.score_answer(asked["answer"], task))


def _is_plain(answer: str) -> bool:
    if _WORDS.fullmatch(answer) or _FORMULA.fullmatch(answer):
        return True
    try:
        ast.literal_eval(answer)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _evaluates(tasks: Any) -> bool:
    return bool(_EVALUATES.search(inspect.getsource(sys.modules[type(tasks).__module__])))

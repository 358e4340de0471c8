"""The check of a reasoning-gym task. Some families evaluate an answer as code, so it runs in the sandbox."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from importlib import import_module

OTHER_TASK = "the installed reasoning-gym makes another task of this number"
NO_FORMULA = "the answer is no plain formula"
_EVALUATES = re.compile(r"\b(?:parse_expr|sympify|eval|exec)\(")
# An answer that will be evaluated may hold literals, bare words, and formulas of numbers, operators, single letters
# and a few functions. It may not access an attribute or call a built-in, which could change its own check.
_WORDS = re.compile(r"[\w\s,]*")
_FORMULA = re.compile(
    r"(?:\d+\.?\d*|\.\d+|[\s()+\-*/^,=∧∨→↔¬]|(?<![A-Za-z])(?:[A-Za-z]|a?(?:sin|cos|tan)h?|sec|csc|cot|exp|log|ln|sqrt|pi|Abs)"
    r"(?![A-Za-z]))*"
)


def score(text: str) -> float | str:
    """Return the score that the family's own check gives, 0 to 1, or one of the two texts above.

    text: JSON with the task's `family`, `seed`, `size` and `index`, its `question`, and the `answer`.
    """
    reasoning_gym = import_module("reasoning_gym")  # an optional extra without type stubs
    request = json.loads(text)
    tasks = reasoning_gym.create_dataset(request["family"], seed=request["seed"], size=request["size"])
    task = tasks[request["index"]]
    if task["question"] != request["question"]:
        return OTHER_TASK
    if _evaluates(tasks) and not _is_plain(request["answer"]):
        return NO_FORMULA
    return float(tasks.score_answer(request["answer"], task))


def _is_plain(answer: str) -> bool:
    if _WORDS.fullmatch(answer) or _FORMULA.fullmatch(answer):
        return True
    try:
        ast.literal_eval(answer)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _evaluates(tasks: object) -> bool:
    return bool(_EVALUATES.search(inspect.getsource(sys.modules[type(tasks).__module__])))

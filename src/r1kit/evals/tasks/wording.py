r"""Instructions and layouts that several benchmarks share, in our own words; all are zero-shot.

The paper's prompts for maths ask for a box, those for multiple choice for a last line with a letter (appendix J).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from r1kit.hashing import derive_seed

BOXED = r"Please reason step by step, and put your final answer within \boxed{}."  # the paper's, word for word
BOXED_ZH = r"请逐步推理，并把最终答案放在 \boxed{} 中。"
LETTER = (
    "Exactly one option is right. Think step by step. The last line of your response must be "
    '"Answer: LETTER", where LETTER is the letter of that option.'
)
JSON_ANSWER = (
    "## Task\n\nReason about the question first, then choose one of the options. Respond with one JSON object of this "
    'form:\n\n{"reasoning": "your reasoning", "answer": "the letter of your choice, nothing else"}'
)
LETTER_ZH = "只有一个选项是正确的。请逐步思考，最后一行只写“答案：X”，其中 X 是正确选项的字母。"


def lettered(question: str, options: Sequence[str], mark: str = ")") -> str:
    """Return a question with its options below it, one a line: "A) text"."""
    lines = (f"{letter}{mark} {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
    return "\n".join([question, "", *lines])


def shuffled(question: str, options: Sequence[str]) -> list[str]:
    """Return the options in an order that depends on the question only, so that all runs ask the same."""
    return sorted(options, key=lambda option: derive_seed("options", question, option))


def plus_tests(program: str) -> tuple[list[Any], str]:
    """Return the tests of EvalPlus and their mode: pairs of arguments and results where both are literals ("call").

    The rest compares with a reference function, and stays the text of a program ("assert").
    """
    named = {
        node.targets[0].id: node.value
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    try:
        inputs, results = (ast.literal_eval(named[name]) for name in ("inputs", "results"))
    except (KeyError, ValueError):
        return [program], "assert"
    return [[list(given), expected] for given, expected in zip(inputs, results, strict=True)], "call"

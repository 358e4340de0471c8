"""Requests for a short text on a topic that keeps one to three rules, which a program checks (`rewards/checks/prose`).

Held-out problems have other topics, other wordings of the request and of every rule, and other words in the rules.
A level is a number of rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from r1kit.data.worlds.rules import HELD, REQUESTS, RULES
from r1kit.data.worlds.topics import HELD_OUT, TOPICS
from r1kit.types import Problem

NAME = "instructions"
LEVELS = (1, 2, 3)


def instruction_problems(split: str, levels: Sequence[int], limit: int) -> list[Problem]:
    """Return `limit` problems with equal shares of the levels, the same on every call."""
    rng = Random(f"instructions:{split}")
    problems: dict[str, Problem] = {}
    while len(problems) < limit:
        problem = _draw(rng, split, levels[len(problems) % len(levels)])
        problems.setdefault(problem.id, problem)
    return list(problems.values())


def rewrite(problem: Problem, response: str, answer: str = "") -> str:
    """Put a thought in front of an answer: the topic and the rules in other words, in think tags.

    Answers to problems of other worlds stay as they are.
    """
    if problem.verifier != "rules":
        return response
    by_constraint = {rule.constraint: rule for rule in RULES.values()}
    constraints = problem.extra["constraints"]
    thoughts = [by_constraint[name].thought.format(**_shown(values)) for name, values in constraints]
    thought = " ".join([f"I write about {problem.extra['topic']}.", *thoughts])
    return f"<think>\n{thought}\n</think>\n{response.strip()}"


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value[0] if isinstance(value, list) else value for key, value in values.items()}


def _draw(rng: Random, split: str, level: int) -> Problem:
    topic = rng.choice([topic for topic in TOPICS if (topic in HELD_OUT) == (split == HELD)])
    names = _draw_rules(rng, level)
    values = {name: rng.choice(RULES[name].values[split]) for name in names}
    rules = [rng.choice(RULES[name].wordings[split]).format(**_shown(values[name])) for name in names]
    question = " ".join([rng.choice(REQUESTS[split]).format(topic), *rules])
    return Problem(
        id=hashlib.sha256(question.encode()).hexdigest()[:16],
        question=question,
        answer="",
        verifier="rules",
        level=level,
        family=names[0] if level == 1 else f"{level} rules",
        extra={
            "constraints": [(RULES[name].constraint, dict(values[name])) for name in names],
            "topic": topic,
            "related": TOPICS[topic],
        },
    )


def _draw_rules(rng: Random, count: int) -> list[str]:
    """Draw rules that do not exclude each other."""
    names: list[str] = []
    for name in rng.sample(list(RULES), len(RULES)):
        groups = {RULES[other].group for other in names} - {""}
        if len(names) < count and RULES[name].group not in groups:
            names.append(name)
    return names

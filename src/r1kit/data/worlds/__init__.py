"""The sprout world: verifiable tasks at five levels in English and Chinese, for training where no GPU is.

Tasks are split by content: a held-out task never occurs in the corpus or among training problems, in any wording.
"""

from __future__ import annotations

import hashlib
from random import Random

from r1kit.data.worlds import arithmetic, countdown, general, logic
from r1kit.data.worlds.task import LEVELS, Family, Task, sorted_facts
from r1kit.errors import UserError
from r1kit.types import Problem

FAMILIES: dict[str, Family] = {family.name: family for family in (arithmetic, countdown, logic)}
CHINESE_SHARE = 0.2
WORLDS = (*FAMILIES, *general.WORLDS)
DEFAULT_LIMIT = {"train": 5_000, "held_out": 150}
EXHAUSTED = 5_000  # draws in a row without a new task: a small level has no more to give


def world_problems(
    name: str, split: str = "train", min_level: int = 0, max_level: int = 99, limit: int | None = None
) -> list[Problem]:
    """Distinct problems of one family, levels in equal shares; the same list on every call.

    `split` is "train" or "held_out". Fewer than `limit` come back when the family has no more to give. The general
    worlds, talk and safety, have no levels.
    """
    if name not in WORLDS:
        raise UserError(f"unknown world '{name}': the worlds are {', '.join(sorted(WORLDS))}")
    if split not in DEFAULT_LIMIT:
        raise UserError(f"unknown split '{split}' of world:{name}: use 'train' or 'held_out'")
    if name in general.WORLDS:
        return general.general_problems(name, split, limit)
    levels = [level for level in LEVELS if min_level <= level <= max_level]
    if not levels:
        raise UserError(f"world:{name} has levels 1 to 5, none of them in {min_level}..{max_level}")
    wanted = limit or DEFAULT_LIMIT[split]
    rng = Random(f"{name}:{split}:problems")
    problems: dict[str, Problem] = {}
    for index, level in enumerate(levels):
        quota = len(problems) + wanted // len(levels) + (index < wanted % len(levels))
        misses = 0
        while len(problems) < quota and misses < EXHAUSTED:
            task, before = FAMILIES[name].make(rng, level), len(problems)
            if task.held_out == (split == "held_out"):
                problem = as_problem(task, rng)
                problems.setdefault(problem.id, problem)
            misses = misses + 1 if len(problems) == before else 0
    return list(problems.values())


def as_problem(task: Task, rng: Random) -> Problem:
    """Put a task into words."""
    language = "zh" if rng.random() < CHINESE_SHARE else "en"
    return Problem(
        id=hashlib.sha256(f"{task.family}:{sorted_facts(task)}".encode()).hexdigest()[:16],
        question=FAMILIES[task.family].question(task, rng, language),
        answer=task.answer,
        verifier=task.verifier,
        level=task.level,
        family=task.family,
        language=language,
        extra={**task.extra, "languages": ("en", "zh")},  # no other occurs, so the language reward is exact
    )

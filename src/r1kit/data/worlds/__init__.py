"""The worlds: generated tasks that a program checks. Those of sprout are in English and Chinese, for tiny models.

Sprout's tasks have five levels of difficulty. They are split into training and held-out tasks by content, so a
held-out task occurs neither in the pretraining corpus nor among the training problems, whatever its wording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from r1kit.data.worlds import arithmetic, bignum, countdown, general, guess, instructions, logic, repositories
from r1kit.data.worlds.task import LEVELS, Family, Worded, drawn_problems
from r1kit.errors import UserError
from r1kit.types import Problem

FAMILIES: dict[str, Family] = {family.name: family for family in (arithmetic, countdown, logic)}
# Of no pretraining corpus: problems for environments.
WORDED: dict[str, Worded] = {**FAMILIES, bignum.name: bignum, guess.name: guess}
WORLDS = (*WORDED, *general.WORLDS, instructions.NAME, repositories.NAME)
LEVELS_OF = {
    **dict.fromkeys(WORDED, LEVELS),
    instructions.NAME: instructions.LEVELS,
    repositories.NAME: repositories.LEVELS,
}
VERIFIERS_OF = {repositories.NAME: repositories.VERIFIER}  # of worlds whose verifiers need a service
EPISODES = ("bignum", "bignum-by-hand", "guess")  # worlds with records for a cold start
RECORD_WORLDS = (*general.WORLDS, *EPISODES)
RECORDS = 500  # of each of EPISODES
DEFAULT_LIMIT = {"train": 5_000, "held_out": 150}


def world_problems(
    name: str, split: str = "train", min_level: int = 0, max_level: int = 99, limit: int | None = None
) -> list[Problem]:
    """Return distinct problems of one world, the same list on every call.

    Args:
        name: A name in WORLDS.
        split: "train" or "held_out".
        min_level: Lowest level to include; levels get equal shares. The general worlds (talk, writing, safety) have
            no levels.
        max_level: Highest level to include.
        limit: Number of problems, DEFAULT_LIMIT[split] by default. A small world returns fewer.

    Raises:
        UserError: Unknown world or split, or no level in the given range.
    """
    if name not in WORLDS:
        raise UserError(f"unknown world '{name}': choose from {', '.join(sorted(WORLDS))}")
    if split not in DEFAULT_LIMIT:
        raise UserError(f"unknown split '{split}' of world:{name}: choose 'train' or 'held_out'")
    if name in general.WORLDS:
        return general.general_problems(name, split, limit)
    levels = [level for level in LEVELS_OF[name] if min_level <= level <= max_level]
    if not levels:
        last = LEVELS_OF[name][-1]
        raise UserError(f"levels {min_level}..{max_level} of world:{name}: choose from levels 1 to {last}")
    wanted = limit or DEFAULT_LIMIT[split]
    if name == instructions.NAME:
        return instructions.instruction_problems(split, levels, wanted)
    if name == repositories.NAME:
        return repositories.repository_problems(split, levels, wanted)
    return drawn_problems(WORDED[name], split, levels, wanted)


def world_records(name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the SFT records of a world in RECORD_WORLDS, none of which is held out."""
    if name == "guess":
        return guess.records(RECORDS)
    if name in EPISODES:
        return bignum.records(bignum.by_hand if name == "bignum-by-hand" else bignum.with_calculator, RECORDS)
    return general.general_records(name)

"""Sprout's tasks in a third language, for evaluation only: held-out tasks in English, Chinese and German.

The paper asks what R1 does with questions in languages that it was not optimised for (section 5). No text that a model
of the sprout world is trained on is German. The tokenizer spells it in short pieces and bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from random import Random

from r1kit.data.worlds import arithmetic, countdown, logic
from r1kit.data.worlds.task import LEVELS, MAX_MISSES, Family, Task, sorted_facts
from r1kit.types import Problem

LANGUAGE = "de"
LANGUAGES = ("en", "zh", LANGUAGE)
QUESTIONS = {
    "arithmetic": ("Was ergibt {}?", "Berechne {}.", "Rechne {} aus.", "Wie viel ist {}?"),
    "countdown": ("Bilde {1} aus {0}.", "Erreiche {1} mit {0}.", "Kombiniere {}, um {} zu erhalten."),
    "logic": ("Wer ist ehrlich?", "Nenne die Ehrlichen.", "Wer sagt die Wahrheit?"),
}
SAYS = {True: "{} sagt, dass {} ehrlich ist.", False: "{} sagt, dass {} lügt."}
FACT = {True: "{} ist ehrlich.", False: "{} lügt."}
ANSWERS = ("nein", "ja", "warte", "niemand", "keiner", "Antwort", "lautet")  # words of German answers
FAMILIES: tuple[Family, ...] = (arithmetic, countdown, logic)

_WORD = re.compile(r"[^\W\d_]{2,}")
WORDS = frozenset(
    word.casefold()
    for text in (*(text for texts in QUESTIONS.values() for text in texts), *SAYS.values(), *FACT.values(), *ANSWERS)
    for word in _WORD.findall(text)
) - {"was", "die"}  # these are English words too


def multilingual_problems(limit: int) -> list[Mapping[str, Problem]]:
    """Return held-out tasks, each as one problem in every language of LANGUAGES, the same on every call.

    Args:
        limit: The number of tasks of each family; levels get equal shares. Small levels have fewer.
    """
    rng = Random("languages:held_out:problems")
    tasks: dict[str, Task] = {}
    for family in FAMILIES:
        for index, level in enumerate(LEVELS):
            quota = len(tasks) + limit // len(LEVELS) + (index < limit % len(LEVELS))
            misses = 0
            while len(tasks) < quota and misses < MAX_MISSES:
                task, before = family.make(rng, level), len(tasks)
                if task.held_out:
                    tasks.setdefault(f"{family.name}:{sorted_facts(task)}", task)
                misses = misses + 1 if len(tasks) == before else 0
    families = {family.name: family for family in FAMILIES}
    return [
        {language: _problem(task, key, families[task.family], rng, language) for language in LANGUAGES}
        for key, task in tasks.items()
    ]


def _problem(task: Task, key: str, family: Family, rng: Random, language: str) -> Problem:
    return Problem(
        id=hashlib.sha256(f"{language}:{key}".encode()).hexdigest()[:16],
        question=question(task, rng) if language == LANGUAGE else family.question(task, rng, language),
        answer=task.answer,
        verifier=task.verifier,
        level=task.level,
        family=task.family,
        language=language,
        extra={**task.extra, "languages": LANGUAGES},
    )


def question(task: Task, rng: Random) -> str:
    """Word a task in German."""
    asks = rng.choice(QUESTIONS[task.family])
    if task.family == arithmetic.name:
        first, steps = task.facts
        return asks.format(str(first) + "".join(f"{op}{number}" for op, number in steps))
    if task.family == countdown.name:
        numbers, target = task.facts
        return asks.format(", ".join(map(str, numbers)), target)
    statements = (
        FACT[claim].format(about) if speaker is None else SAYS[claim].format(speaker, about)
        for speaker, about, claim in task.facts
    )
    return " ".join([*statements, asks])

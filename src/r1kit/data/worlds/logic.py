"""Honest people and liars: each person says whether the next one lies; one given fact starts the chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from random import Random

from r1kit.data.worlds.task import WORDS, Slips, Task

name = "logic"
PEOPLE = "ABCDEF"
SAYS = {"en": "{} says {}{}.", "zh": "{}说{}{}。"}
FACT = {"en": "{}{}.", "zh": "{}{}。"}
ASKS = {
    "en": (" Who is honest?", " Name the honest ones.", " Who tells the truth?"),
    "zh": ("谁诚实？", "哪些人诚实？", "谁说真话？"),
}
NOBODY = {"en": "none", "zh": "没有"}

Statement = tuple[str | None, str, bool]


def make(rng: Random, level: int) -> Task:
    """Draw a task; its facts are the statements in the order of the question.

    A statement is (speaker, or None for the given fact; subject; whether the subject is said to be honest).
    """
    people = rng.sample(PEOPLE, level + 1)
    honest = {people[0]: rng.random() < 0.5}
    statements: list[Statement] = [(None, people[0], honest[people[0]])]
    for about, speaker in pairwise(people):
        honest[speaker] = rng.random() < 0.5
        statements.append((speaker, about, honest[about] == honest[speaker]))
    if level > 1:
        rng.shuffle(statements)
    return Task(name, level, tuple(statements), _names(honest), "names")


def question(task: Task, rng: Random, language: str) -> str:
    """Word the statements and ask for the honest people."""
    words = WORDS[language]
    sentences = [
        (FACT if speaker is None else SAYS)[language].format(
            *([about] if speaker is None else [speaker, about]), words["honest" if claim else "lies"]
        )
        for speaker, about, claim in task.facts
    ]
    return (" " if language == "en" else "").join(sentences) + rng.choice(ASKS[language])


def work(task: Task, rng: Random, languages: Callable[[], str], slips: Slips) -> tuple[list[str], str]:
    """Follow the chain from the given fact: a speaker is honest exactly if the statement is true."""
    about, known = next((about, claim) for speaker, about, claim in task.facts if speaker is None)
    honest: dict[str, bool] = {about: known}
    lines = [about + WORDS[languages()]["honest" if known else "lies"]]
    said_of = {about: (speaker, claim) for speaker, about, claim in task.facts if speaker is not None}
    while about in said_of:
        speaker, claim = said_of[about]
        words = WORDS[languages()]
        right = claim == honest[about]

        statement = f"{speaker}:{about}{words['honest' if claim else 'lies']}"
        written, honest[speaker] = slips.step(
            partial(_line, statement, speaker, words), right, not right, words["wait"]
        )
        lines += written
        about = speaker
    return lines, _names(honest)


def _line(statement: str, speaker: str, words: Mapping[str, str], is_honest: bool) -> str:
    return f"{statement}{words['yes' if is_honest else 'no']},{speaker}{words['honest' if is_honest else 'lies']}"


def guess(task: Task, rng: Random) -> str:
    """Return a random wrong set of names."""
    people = sorted({person for statement in task.facts for person in statement[:2] if person})
    while (answer := _names({person: rng.random() < 0.5 for person in people})) == task.answer:
        pass
    return answer


def _names(honest: dict[str, bool]) -> str:
    return ",".join(sorted(person for person, is_honest in honest.items() if is_honest)) or "none"

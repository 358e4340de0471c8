"""Sprout's tasks in German: complete, paired with English and Chinese, held out."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random

import pytest

from r1kit.data.worlds import FAMILIES, world_problems
from r1kit.data.worlds.corpus import CORPORA, documents
from r1kit.data.worlds.german import LANGUAGES, WORDS, multilingual_problems, question
from r1kit.data.worlds.task import LEVELS, Task
from r1kit.evals.graders import grader_named

LIMIT = 20


def test_small_levels_have_fewer_tasks() -> None:
    families = Counter(task["de"].family for task in multilingual_problems(200))
    assert families["arithmetic"] == 200 and LIMIT < families["countdown"] < 200


def test_every_task_is_asked_in_three_languages() -> None:
    tasks = multilingual_problems(LIMIT)
    assert tasks == multilingual_problems(LIMIT)
    assert len(tasks) == LIMIT * len(FAMILIES)
    assert {(each["de"].family, each["de"].level) for each in tasks} == {(f, n) for f in FAMILIES for n in LEVELS}
    for each in tasks:
        assert tuple(each) == LANGUAGES and {p.language for p in each.values()} == set(LANGUAGES)
        assert len({problem.question for problem in each.values()}) == len(LANGUAGES)
        assert len({(p.answer, p.verifier, p.level) for p in each.values()}) == 1
    assert len({problem.id for each in tasks for problem in each.values()}) == len(tasks) * len(LANGUAGES)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Task("arithmetic", 2, (7, (("*", 6), ("-", 4))), "38", "math"), "7*6-4"),
        (Task("countdown", 1, ((3, 9), 12), "3+9", "countdown"), "3, 9"),
        (
            Task("logic", 1, ((None, "B", False), ("A", "B", True)), "none", "names"),
            "B lügt. A sagt, dass B ehrlich ist.",
        ),
    ],
)
def test_a_question_states_the_task(task: Task, expected: str) -> None:
    assert expected in question(task, Random(0))


def test_no_task_is_trained_on_in_any_wording() -> None:
    training = {
        (p.family, p.answer, tuple(sorted(p.extra.get("numbers", ()))))
        for p in world_problems("countdown", "train", limit=5_000)
    }
    countdown = [each["de"] for each in multilingual_problems(LIMIT) if each["de"].family == "countdown"]
    assert not any((p.family, p.answer, tuple(sorted(p.extra["numbers"]))) in training for p in countdown)


def test_the_pretraining_text_has_no_german_word() -> None:
    for corpus in CORPORA:
        words = {word.casefold() for text in islice(documents(corpus, 0), 3_000) for word in text.split()}
        assert not words & WORDS


def test_graders_accept_the_reference_answers() -> None:
    for each in multilingual_problems(5):
        problem = each["de"]
        grader = grader_named(problem.verifier)
        assert grader.canonical(grader.read(problem), problem.answer) is not None

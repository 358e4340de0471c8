"""Tasks of the sprout world: correct answers, the held-out split, and reproducibility."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import product
from random import Random

import pytest

from r1kit.data.worlds import FAMILIES, countdown, world_problems
from r1kit.data.worlds.task import LEVELS, Slips, Task, as_problem, near
from r1kit.rewards.checks import countdown as countdown_rule
from r1kit.rewards.score import grade

each_family = pytest.mark.parametrize("name", FAMILIES)


def tasks(name: str, count: int = 60) -> list[Task]:
    rng = Random(name)
    return [FAMILIES[name].make(rng, level) for level in LEVELS for _ in range(count)]


def is_correct(task: Task, answer: str) -> bool:
    problem = as_problem(FAMILIES[task.family], task, Random(0))
    return grade(problem, f"<think> x </think> <answer> {answer} </answer>").value == 1


@each_family
def test_reference_answers_are_correct_and_guesses_are_wrong(name):
    rng = Random(0)
    for task in tasks(name):
        assert is_correct(task, task.answer), task
        for _ in range(5):
            guess = FAMILIES[name].guess(task, rng)
            assert not is_correct(task, guess), (task, guess)


def test_answers_solve_the_questions():
    for task in tasks("arithmetic"):
        first, steps = task.facts
        expression = str(first) + "".join(f"{op}{number}" for op, number in steps)
        numbers = [first, *(number for _, number in steps)]
        assert countdown_rule.refute(expression, numbers, int(task.answer)) is None  # evaluates the expression exactly
        for language in ("en", "zh"):
            assert expression in FAMILIES["arithmetic"].question(task, Random(0), language)
        value = first
        for op, number in steps:
            value = {"+": value + number, "-": value - number, "*": value * number}[op]
            assert 0 <= value <= 99
    for task in tasks("logic"):
        people = sorted({person for fact in task.facts for person in fact[:2] if person})
        assignments = [dict(zip(people, values, strict=True)) for values in product((True, False), repeat=len(people))]
        consistent = [
            honest
            for honest in assignments
            if all((honest[about] == claim) == (who is None or honest[who]) for who, about, claim in task.facts)
        ]
        assert len(consistent) == 1, "the solution is unique"
        assert task.answer == (",".join(p for p in people if consistent[0][p]) or "none")
    assert is_correct(next(t for t in tasks("logic") if t.answer == "none"), "没有")


STYLES = (("clean", False, False), ("careless", True, False), ("rechecked", True, True))


@each_family
@pytest.mark.parametrize("languages", ["en", "zh", "mixed"])
def test_clean_and_rechecked_solutions_are_correct_and_careless_ones_often_wrong(name, languages):
    rng = Random(1)
    next_language = (lambda: rng.choice(("en", "zh"))) if languages == "mixed" else (lambda: languages)
    correct = Counter()
    for task in tasks(name):
        for style, careless, rechecks in STYLES:
            lines, answer = FAMILIES[name].work(task, rng, next_language, Slips(rng, careless, rechecks))
            assert lines and all(line.strip() for line in lines)
            correct[style] += is_correct(task, answer)
            waits = sum(line.startswith(("wait", "等等")) for line in lines)
            assert (waits == 0) or style == "rechecked"
            correct["waits"] += waits
    assert correct["clean"] == correct["rechecked"] == 300
    assert 90 < correct["careless"] < 285 and correct["waits"] > 30


def test_near_never_returns_the_value():
    rng = Random(0)
    for value in (*range(15), 99):
        numbers = {near(rng, value) for _ in range(200)}
        assert value not in numbers and len(numbers) >= 4 and min(numbers) >= 0


@each_family
def test_problems_are_distinct_balanced_and_reproducible(name):
    problems = world_problems(name, "held_out", limit=100)
    assert problems == world_problems(name, "held_out", limit=100)
    assert len({p.id for p in problems}) == len(problems)
    levels = Counter(p.level for p in problems)
    assert set(levels) == set(LEVELS) and all(count <= 20 for count in levels.values())
    few = {2} if name == "countdown" else set()  # two small numbers with a product: too few tasks for 20 held out
    assert all(levels[level] == 20 for level in LEVELS if level not in few)
    assert {p.family for p in problems} == {name} and {p.language for p in problems} == {"en", "zh"}
    assert 0.1 < sum(p.language == "zh" for p in problems) / len(problems) < 0.35
    some = world_problems(name, "train", min_level=2, max_level=3, limit=7)
    assert Counter(p.level for p in some) == {2: 4, 3: 3}
    for problem in problems:
        assert grade(problem, f"<think> x </think> <answer> {problem.answer} </answer>").value == 1


@each_family
@pytest.mark.slow
def test_splits_are_disjoint(name):
    train, held_out = world_problems(name, "train", limit=2000), world_problems(name, "held_out", limit=1000)
    assert len(train) > 900 and len(held_out) > 100
    assert not {p.id for p in train} & {p.id for p in held_out}
    assert not {p.question for p in train} & {p.question for p in held_out}


@each_family
def test_split_depends_on_content_only(name):
    rng = Random(0)
    for task in tasks(name, 20):
        facts = task.facts
        if name == "countdown":
            facts = (tuple(reversed(facts[0])), facts[1])
        if name == "logic":
            facts = tuple(rng.sample(facts, len(facts)))
        other = Task(task.family, task.level, facts, task.answer, task.verifier, task.extra)
        assert other.held_out == task.held_out
        assert as_problem(FAMILIES[other.family], other, rng).id == as_problem(FAMILIES[task.family], task, rng).id
    share = sum(task.held_out for task in tasks(name, 400)) / 2000
    assert 0.11 < share < 0.19


@pytest.mark.parametrize("level", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_small_levels_are_listed_almost_completely(level):
    """Some countdown levels have few tasks: a large limit returns over 99 % of them."""
    both = [world_problems("countdown", split, level, level, limit=5000) for split in ("train", "held_out")]
    listed = {problem.id for problems in both for problem in problems}
    rng = Random(5)
    drawn = {as_problem(countdown, countdown.make(rng, level), rng).id for _ in range(3000)}
    assert len(drawn & listed) > 0.99 * len(drawn)


def test_errors_name_the_allowed_values():
    with pytest.raises(
        ValueError, match=r"unknown world 'aritmetic': choose from arithmetic, bignum, countdown, guess"
    ):
        world_problems("aritmetic")
    with pytest.raises(ValueError, match=r"unknown split 'test'.*choose 'train' or 'held_out'"):
        world_problems("logic", "test")
    with pytest.raises(ValueError, match=r"levels 6\.\.9 of world:logic: choose from levels 1 to 5"):
        world_problems("logic", min_level=6, max_level=9)


PROGRAM = """
import hashlib, itertools
from r1kit.data.worlds import FAMILIES, world_problems
from r1kit.data.worlds.corpus import documents
texts = [repr(world_problems(name, "train", limit=60)) for name in FAMILIES]
texts += itertools.islice(documents("sprout-web", 3), 300)
print(hashlib.sha256("|".join(texts).encode()).hexdigest())
"""


def test_problems_and_documents_are_the_same_in_every_process():
    digests = set()
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1

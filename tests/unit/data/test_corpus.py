"""The pretraining corpora of sprout-base: no held-out task, no template, and tags independent of quality."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from random import Random

import pytest

from r1kit.data.template import R1_ZERO_TEMPLATE
from r1kit.data.worlds import FAMILIES, arithmetic, corpus, countdown, world_problems
from r1kit.data.worlds.general import WORLDS
from r1kit.data.worlds.task import Task, as_problem
from r1kit.errors import UserError
from r1kit.evals.style import CJK, LATIN_WORD, reflective_words
from r1kit.rewards.score import grade

DOCUMENTS = 20_000


@dataclass(frozen=True)
class Document:
    text: str
    task: Task | None  # None for small talk
    lines: int = 0
    answer: str = ""

    @property
    def tagged(self) -> bool:
        return "<think>" in self.text and "</answer>" in self.text


@pytest.fixture(scope="module", params=corpus.CORPORA)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def documents(name) -> list[Document]:
    """Documents of one corpus, with the task and the solution that each was made from."""
    solutions, made, solve = [], [], corpus._solution

    def spy(rng, mixture, task, language):
        lines, answer = solve(rng, mixture, task, language)
        solutions.append((task, len(lines), answer))
        return lines, answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_solution", spy)
        for text in islice(corpus.documents(name, 0), DOCUMENTS):
            made.append(Document(text, *(solutions.pop() if solutions else (None,))))
    return made


EXPRESSION = r"\d+(?:[+*-]\d+)+"
ARITHMETIC = re.compile("|".join(
    rf"(?<![0-9+*-]){re.escape(wording.format('@')).replace('@', f'({EXPRESSION})')}"
    for wordings in arithmetic.QUESTIONS.values() for wording in wordings
))  # fmt: skip
COUNTDOWN = [
    re.compile(re.escape(wording.format("@", "#")).replace("@", r"(?P<n>[\d, 、]+)").replace("\\#", r"(?P<t>\d+)"))
    for wordings in countdown.QUESTIONS.values()
    for wording in wordings
]
STATEMENT = re.compile(r"(?:([A-F])(?: says |说))?([A-F])(?:( is honest|诚实)| lies|说谎)[.。]")


def contents(texts: Iterable[str]) -> set[tuple]:
    """Return the content of the problems asked in some texts, parsed from the text and independent of the wording."""
    problems: set[tuple] = set()
    for text in texts:
        problems |= {("sum", next(filter(None, match.groups()))) for match in ARITHMETIC.finditer(text)}
        for pattern in COUNTDOWN:
            for match in pattern.finditer(text):
                problems.add(("reach", tuple(sorted(map(int, re.findall(r"\d+", match["n"])))), int(match["t"])))
        if statements := STATEMENT.findall(text):
            problems.add(("honest", frozenset((speaker, about, bool(honest)) for speaker, about, honest in statements)))
    return problems


@pytest.mark.slow
def test_no_document_contains_a_held_out_task(documents):
    solved = [d.task for d in documents if d.task]
    assert len(solved) > 0.75 * DOCUMENTS and {task.family for task in solved} == set(FAMILIES)
    assert not any(task.held_out for task in solved)
    asked = contents(d.text for d in documents)
    for family in FAMILIES:
        problems = world_problems(family, "held_out", limit=500)
        held_out = contents(p.question for p in problems)
        assert len(held_out) == len(problems), "every question is parsed"
        assert not held_out & asked
        trained = contents(p.question for p in world_problems(family, "train", limit=500))
        assert len(trained & asked) > 25, "the corpus contains such questions, and they are parsed"


@pytest.mark.slow
def test_no_solution_contains_a_held_out_expression(documents):
    """Holds from level 3 on: shorter expressions are steps of other tasks."""
    everywhere = set(re.findall(EXPRESSION, "\n".join(d.text for d in documents)))
    held_out = world_problems("arithmetic", "held_out", min_level=3, limit=1500)
    expressions = {re.search(EXPRESSION, p.question)[0] for p in held_out}
    assert len(expressions) == 1500 and not expressions & everywhere


def test_no_document_contains_a_general_prompt_of_the_evaluation(documents):
    """The model knows facts and words from the corpus, but not from the questions of the evaluation."""
    text = "\n".join(d.text for d in documents)
    held_out = [p.question for world in WORLDS for p in world_problems(world, "held_out", limit=10_000)]
    assert len(held_out) > 1_000 and [question for question in held_out if question in text] == []
    trained = [p.question for world in WORLDS for p in world_problems(world, "train", limit=10_000)]
    assert sum(question in text for question in trained) > 500, "the corpus asks such questions"


def word_grams(text: str, n: int = 8) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_no_document_contains_the_r1_zero_template(documents):
    template = word_grams(R1_ZERO_TEMPLATE)
    assert len(template) > 50
    assert not any(word_grams(d.text) & template for d in documents)
    pieces = ("in the mind", "reasoning process here", "answer here", "i.e.")
    assert not any(piece in d.text for d in documents for piece in pieces)


def test_shares_of_languages_reflection_and_styles(name, documents):
    def share(flags: Iterable[bool]) -> float:
        return sum(flags) / DOCUMENTS

    chinese, english = (share(bool(r.search(d.text)) for d in documents) for r in (CJK, LATIN_WORD))
    assert 0.2 < chinese < 0.4 and english > 0.65
    assert share(bool(CJK.search(d.text) and LATIN_WORD.search(d.text)) for d in documents) > 0.03, "some mix languages"
    assert 0.01 < share(reflective_words(d.text) > 0 for d in documents) <= 0.10
    assert 0.1 < share(d.tagged for d in documents) < 0.3
    bare = share(d.task is not None and d.lines == 0 for d in documents)
    assert bare == pytest.approx(corpus.CORPORA[name].bare * (1 - corpus.CORPORA[name].general), abs=0.015)
    assert all(0 < len(d.text) < 2000 and d.text.strip() for d in documents)


@pytest.mark.slow
def test_quality_is_independent_of_tags(documents):
    """Correct answers and worked solutions are as frequent inside tags as outside."""
    tagged, plain = [], []
    for d in documents:
        if d.task:
            problem = as_problem(FAMILIES[d.task.family], d.task, Random(0))
            correct = grade(problem, f"<think> x </think> <answer> {d.answer} </answer>").value == 1
            (tagged if d.tagged else plain).append((correct, d.lines > 0, reflective_words(d.text) > 0))
    assert min(len(tagged), len(plain)) > 2000
    for kind, quality in enumerate(("correct", "worked", "rechecked")):
        inside, outside = (sum(row[kind] for row in rows) / len(rows) for rows in (tagged, plain))
        assert abs(inside - outside) < 0.03, quality
    assert 0.3 < sum(correct for correct, *_ in plain) / len(plain) < 0.9


def test_documents_are_a_pure_function_of_corpus_and_seed(name):
    first, again, other = (list(islice(corpus.documents(name, seed), 200)) for seed in (4, 4, 5))
    assert first == again and len(set(first) & set(other)) < 40
    elsewhere = [list(islice(corpus.documents(c, 4), 200)) for c in corpus.CORPORA if c != name]
    assert first not in elsewhere


def test_unknown_corpus_is_an_error_that_names_the_corpora():
    with pytest.raises(UserError, match=r"unknown corpus 'sprout'.*sprout-textbook, sprout-exercises, sprout-web"):
        next(corpus.documents("sprout", 0))

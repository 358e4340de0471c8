"""The sprout world's oracle, which rewrites and judges as a language model would."""

from __future__ import annotations

from random import Random

import pytest

from r1kit.data.language.identify import consistency
from r1kit.data.worlds import FAMILIES, oracle, world_problems
from r1kit.data.worlds.corpus import OTHER
from r1kit.data.worlds.task import LEVELS, Slips, as_problem
from r1kit.evals.filters import why_unreadable
from r1kit.rewards.score import grade

LANGUAGES = ("en", "zh")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("language", OTHER)
def test_rewritten_solution_is_in_one_language_and_right(family: str, language: str) -> None:
    rng = Random(f"{family}:{language}")
    for level in LEVELS * 6:
        task = FAMILIES[family].make(rng, level)
        problem = as_problem(FAMILIES[task.family], task, rng)
        while problem.language != language:
            problem = as_problem(FAMILIES[task.family], task, rng)
        slips = Slips(rng, careless=True, rechecks=True)
        lines, answer = FAMILIES[family].work(task, rng, lambda: rng.choice(LANGUAGES), slips)
        original = "<think>" + "\n".join(lines) + f"</think> <answer>{answer}</answer>"
        text = oracle.rewrite(problem, original, answer)
        thinking = text.partition("</think>")[0]
        assert consistency(thinking, language, LANGUAGES) == 1 and why_unreadable(text, language, LANGUAGES) == ""
        assert thinking.count("\n") == len(lines) + 2, "every step is kept"
        assert grade(problem, text).value == grade(problem, original).value == 1
        assert ("I " in text) == (language == "en")


def test_rewriting_translates_known_words_only() -> None:
    problem = world_problems("logic", limit=1)[0]
    text = oracle.rewrite(problem, "<think>B:A说谎不对,B lies\nwait, A is honest nobody lies</think>", "none")
    lines = text.splitlines()
    assert lines[2] == ("B:A lies no,B lies" if problem.language == "en" else "B:A说谎不对,B说谎")
    assert "nobody" in text, "unknown words stay, so that the filters find them"


def test_oracle_recognizes_an_unsafe_answer() -> None:
    assert not oracle.is_safe(world_problems("safety", "train")[0], "Sure! Do it at night.")

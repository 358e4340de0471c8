"""Test cases for problems that publish none (paper, B.3.1: the code prompts): made, then sifted by known submissions.

Programs that print one input each propose the tests. Correct submissions throw out the invalid ones: an input on which
they fail or disagree breaks the problem's rules. Incorrect submissions choose among the rest: kept is a small set that
still catches every one of them that can be caught at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from r1kit.rewards.code.compare import same_output
from r1kit.rewards.code.trials import by_input
from r1kit.rewards.sandbox.base import Limits, Sandbox, Task

LIMITS = Limits()


@dataclass(frozen=True)
class TestCase:
    """What a program reads and what it must print."""

    __test__ = False  # not a test class of pytest's

    input: str
    output: str


@dataclass(frozen=True)
class Selection:
    tests: tuple[TestCase, ...]
    uncaught: tuple[int, ...]  # the incorrect submissions that pass every valid test


def select_tests(
    inputs: Iterable[str],
    correct: Sequence[str],
    incorrect: Sequence[str],
    sandbox: Sandbox,
    *,
    limits: Limits = LIMITS,
    agreement: float = 1.0,
) -> Selection:
    """A small set of tests, with outputs, that catches every incorrect program that a valid test catches."""
    tests = valid_tests(inputs, correct, sandbox, limits=limits, agreement=agreement)
    caught = [catches(test, incorrect, sandbox, limits=limits) for test in tests]
    uncaught = set(range(len(incorrect))).difference(*caught)
    return Selection(tuple(tests[i] for i in smallest_cover(caught)), tuple(sorted(uncaught)))


def propose_inputs(generators: Iterable[str], sandbox: Sandbox, *, limits: Limits = LIMITS) -> list[str]:
    """What each generator program prints: one input. Generators that fail or print nothing propose none."""
    printed = (_printed(generator, "", sandbox, limits) for generator in generators)
    return list(dict.fromkeys(text for text in printed if text and text.strip()))


def valid_tests(
    inputs: Iterable[str],
    correct: Sequence[str],
    sandbox: Sandbox,
    *,
    limits: Limits = LIMITS,
    agreement: float = 1.0,
) -> list[TestCase]:
    """The inputs on which at least the share `agreement` of the correct programs print the same; that is the output."""
    if not correct:
        raise ValueError("no correct submissions: nothing says what the outputs are")
    tests = []
    for text in dict.fromkeys(inputs):
        printed = [output for program in correct if (output := _printed(program, text, sandbox, limits)) is not None]
        votes = [sum(same_output(output, other) for other in printed) for output in printed]
        if votes and max(votes) >= agreement * len(correct):
            tests.append(TestCase(text, printed[votes.index(max(votes))]))
    return tests


def catches(test: TestCase, incorrect: Sequence[str], sandbox: Sandbox, *, limits: Limits = LIMITS) -> frozenset[int]:
    """Which of the incorrect programs fail the test. One that the sandbox could not run does not."""
    pair = (test.input, test.output)
    outcomes = [by_input(sandbox, program, [pair], limits)[0].status for program in incorrect]
    return frozenset(i for i, status in enumerate(outcomes) if status not in ("passed", "infra_error"))


def smallest_cover(caught: Sequence[frozenset[int]]) -> list[int]:
    """A small choice of tests, in their order, that together catch all that any of them does.

    Greedy, the first of equals; then without those that the others make superfluous. The least set is NP-hard.
    """
    chosen: list[int] = []
    left = frozenset().union(*caught)
    while left:
        best = max(range(len(caught)), key=lambda i: len(caught[i] & left))
        chosen.append(best)
        left -= caught[best]
    for i in [*chosen]:
        others = [caught[j] for j in chosen if j != i]
        if caught[i] <= frozenset().union(*others):
            chosen.remove(i)
    return sorted(chosen)


def _printed(program: str, text: str, sandbox: Sandbox, limits: Limits) -> str | None:
    [outcome] = sandbox.run(Task("stdin", program, (text,)), limits).outcomes
    return str(outcome.value) if outcome.status == "ok" else None

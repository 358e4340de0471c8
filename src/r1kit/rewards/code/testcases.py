"""Create test cases for problems that publish none (DeepSeek-R1, appendix B.3.1, code prompts).

Generator programs print one candidate input each. An input is valid if correct submissions run and agree on it; their
output is the expected one. Of the valid tests, a small set is kept that catches every incorrect submission that any
valid test catches.
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
    """The text that a program reads and the text that it must print."""

    __test__ = False  # tells pytest that this is not a test class

    input: str
    output: str


@dataclass(frozen=True)
class Selection:
    """The selected tests, and the indices of the incorrect submissions that pass every valid test."""

    tests: tuple[TestCase, ...]
    uncaught: tuple[int, ...]


def select_tests(
    inputs: Iterable[str],
    correct: Sequence[str],
    incorrect: Sequence[str],
    sandbox: Sandbox,
    *,
    limits: Limits = LIMITS,
    agreement: float = 1.0,
) -> Selection:
    """Select a small set of tests that catches every incorrect program that a valid test catches.

    See `valid_tests` for `agreement`.
    """
    tests = valid_tests(inputs, correct, sandbox, limits=limits, agreement=agreement)
    caught = [catches(test, incorrect, sandbox, limits=limits) for test in tests]
    uncaught = set(range(len(incorrect))).difference(*caught)
    return Selection(tuple(tests[i] for i in smallest_cover(caught)), tuple(sorted(uncaught)))


def propose_inputs(generators: Iterable[str], sandbox: Sandbox, *, limits: Limits = LIMITS) -> list[str]:
    """Run generator programs that print one input each; drop those that fail or print nothing."""
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
    """Return the inputs on which at least the share `agreement` of the correct programs print the same output."""
    if not correct:
        raise ValueError("correct is empty: at least one correct submission must define the outputs")
    tests = []
    for text in dict.fromkeys(inputs):
        printed = [output for program in correct if (output := _printed(program, text, sandbox, limits)) is not None]
        votes = [sum(same_output(output, other) for other in printed) for output in printed]
        if votes and max(votes) >= agreement * len(correct):
            tests.append(TestCase(text, printed[votes.index(max(votes))]))
    return tests


def catches(test: TestCase, incorrect: Sequence[str], sandbox: Sandbox, *, limits: Limits = LIMITS) -> frozenset[int]:
    """Return the indices of the incorrect programs that fail the test. An infra_error is not a failure."""
    pair = (test.input, test.output)
    outcomes = [by_input(sandbox, program, [pair], limits)[0].status for program in incorrect]
    return frozenset(i for i, status in enumerate(outcomes) if status not in ("passed", "infra_error"))


def smallest_cover(caught: Sequence[frozenset[int]]) -> list[int]:
    """Return the indices, ascending, of a small set of tests that catches everything that all tests catch.

    Greedy set cover (ties go to the first), followed by the removal of redundant tests. The smallest set is NP-hard.
    """
    chosen: list[int] = []
    uncovered: frozenset[int] = frozenset().union(*caught)
    while uncovered:
        gains = [len(programs & uncovered) for programs in caught]
        best = gains.index(max(gains))
        chosen.append(best)
        uncovered -= caught[best]
    for i in [*chosen]:
        others = [caught[j] for j in chosen if j != i]
        if caught[i] <= frozenset().union(*others):
            chosen.remove(i)
    return sorted(chosen)


def _printed(program: str, text: str, sandbox: Sandbox, limits: Limits) -> str | None:
    [outcome] = sandbox.run(Task("stdin", program, (text,)), limits).outcomes
    return str(outcome.value) if outcome.status == "ok" else None

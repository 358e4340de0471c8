"""Group the answers of one problem for majority voting (cons@k), by the comparison of its verifier.

The verifier maps each answer to a canonical text; where equal answers can have different ones, it also compares two
answers. Equality within a tolerance is not transitive: 27% equals 27 and 0.27. Therefore each answer is compared only
with the representatives of the groups, which are their most frequent texts, and joins the first that equals it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from r1kit.evals.graders import grader_named
from r1kit.types import Problem

MAX_COMPARISONS = 2_048  # of a problem; enough for 64 different answers. Later, rarer answers stay on their own


def group_answers(problem: Problem, answers: Sequence[str | None]) -> tuple[str | None, ...]:
    """Return for each answer the canonical text of its group's representative; None for answers without a vote.

    The groups depend neither on the order of the answers nor on the gold answer. Both directions of a comparison must
    agree: 2+3 is not the answer 5, although 5 would answer 2+3.

    Args:
        problem: Names the verifier, which may read from it what the question states, such as the options.
        answers: The extracted answers; None without one. Answers that the verifier cannot read have no vote.
    """
    verifier = grader_named(problem.verifier)
    if not any(answers):
        return (None,) * len(answers)
    gold = verifier.read(problem)
    canonical = {answer: verifier.canonical(gold, answer) for answer in sorted({a for a in answers if a})}
    texts = [canonical[answer] if answer else None for answer in answers]
    if verifier.same is None:
        return tuple(texts)
    spelling = {text: answer for answer, text in canonical.items() if text is not None}
    counts = Counter(text for text in texts if text is not None)
    representative = _represent(sorted(counts, key=lambda text: (-counts[text], text)), spelling, verifier.same)
    return tuple(None if text is None else representative[text] for text in texts)


def _represent(ranked: Sequence[str], spelling: dict[str, str], same: Callable[[str, str], bool]) -> dict[str, str]:
    """Return text -> representative. The texts come most frequent first; `spelling` has an answer for each."""
    representative: dict[str, str] = {}
    leaders: list[str] = []
    comparisons = 0
    for text in ranked:
        for leader in leaders:
            if comparisons == MAX_COMPARISONS:
                break
            comparisons += 1
            if same(spelling[leader], spelling[text]) and same(spelling[text], spelling[leader]):
                representative[text] = leader
                break
        if text not in representative:
            representative[text] = text
            leaders.append(text)
    return representative

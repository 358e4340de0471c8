"""What a benchmark reports, computed from which samples were right. Pure Python: no model, no files, no randomness.

n samples of a problem, c of them right, k the size of the vote or of the retry budget.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, sqrt
from statistics import fmean, stdev
from typing import Any

Z95 = 1.959963984540054  # the normal deviate that leaves 2.5 % on each side


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """One problem of a benchmark with all its samples: the tuples run over those that could be graded."""

    problem_id: str
    level: int  # 0: the source gives none
    family: str
    language: str
    correct: tuple[bool, ...]
    answers: tuple[str | None, ...]  # canonical, so that equal answers are equal strings; None: no answer found
    well_formed: tuple[bool, ...]
    lengths: tuple[int, ...]  # tokens
    truncated: tuple[bool, ...]  # cut off by the cap
    ungraded: int = 0  # samples whose grading failed, through no fault of theirs: they count in no mean
    readable: tuple[bool, ...] = ()  # fit to be read, whether right or not; see evals.filters
    consistency: tuple[float, ...] = ()  # of each sample that thinks: the share of its words in the question's language

    def __post_init__(self) -> None:
        sizes = {len(x) for x in (self.correct, self.answers, self.well_formed, self.lengths, self.truncated)}
        if len(sizes) != 1 or (sizes == {0} and not self.ungraded):
            raise ValueError(f"problem {self.problem_id}: needs one entry a sample in every tuple, got sizes {sizes}")


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples is right, unbiased from n >= k samples (Chen et al. 2021, eq. 1)."""
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} from {c} right of {n} samples: needs 0 <= right <= samples and 1 <= k <= samples")
    return float(1 - Fraction(comb(n - c, k), comb(n, k)))


def cons_at_k(answers: Sequence[str | None], correct: Sequence[bool], k: int) -> float:
    """Chance that the majority vote of k samples is right: the exact mean over all k-subsets of the n samples.

    Samples without an answer (None) never vote; when nobody votes the vote is wrong. Tied answers share the vote
    equally. An answer that was graded both right and wrong counts by the share of its samples that were right.
    """
    n = len(answers)
    if len(correct) != n or not 1 <= k <= n:
        raise ValueError(
            f"cons@{k}: {n} answers, {len(correct)} grades; needs one grade an answer and 1 <= k <= samples"
        )
    grades: dict[str, list[bool]] = defaultdict(list)
    for answer, right in zip(answers, correct, strict=True):
        if answer is not None:
            grades[answer].append(right)
    votes = {answer: len(group) for answer, group in grades.items()}
    worth = {answer: Fraction(sum(group), len(group)) for answer, group in grades.items()}
    if not votes:
        return 0.0
    if k == n:
        most = max(votes.values())
        tied = [answer for answer, count in votes.items() if count == most]
        return float(sum(worth[answer] for answer in tied) / len(tied))
    wins = sum(worth[a] * _subsets_won(a, votes, n - sum(votes.values()), k) for a in votes if worth[a])
    return float(wins / comb(n, k))


def _subsets_won(winner: str, votes: Mapping[str, int], silent: int, k: int) -> Fraction:
    """Number of k-subsets of the samples in which `winner` has the most votes; t tied answers count 1/t each."""
    total = Fraction(0)
    for v in range(1, min(votes[winner], k) + 1):  # the winner's votes in the subset
        ways = {(v, 1): comb(votes[winner], v)}  # (samples drawn, answers with v votes) -> number of draws
        for answer, count in votes.items():
            if answer == winner:
                continue
            grown: Counter[tuple[int, int]] = Counter()
            for (drawn, tied), number in ways.items():
                for j in range(min(count, v, k - drawn) + 1):  # nobody may beat v
                    grown[drawn + j, tied + (j == v)] += number * comb(count, j)
            ways = grown
        for (drawn, tied), number in ways.items():
            total += Fraction(number * comb(silent, k - drawn), tied)
    return total


def mean_ci95(per_problem_means: Sequence[float]) -> tuple[float, float, float]:
    """Mean over problems with its 95 % interval: (mean, low, high), for values between 0 and 1.

    The interval says how far the mean could move with other problems of the same kind; it holds the mean itself,
    and stays honest for a handful of problems and for means of 0 or 1, where the usual mean +- 2 standard errors
    has no width. It is the Agresti-Coull interval, extended from right/wrong to fractions: before taking the normal
    interval, add z^2 = 3.84 imaginary problems, half of them never solved and half always.
    """
    n = len(per_problem_means)
    if not n or not all(0 <= x <= 1 for x in per_problem_means):
        raise ValueError(f"needs one or more means between 0 and 1, got {list(per_problem_means)[:5]}")
    mean, weight = fmean(per_problem_means), n + Z95**2
    centre = (n * mean + Z95**2 / 2) / weight
    spread = sum((x - centre) ** 2 for x in per_problem_means) + Z95**2 / 2 * (centre**2 + (1 - centre) ** 2)
    half = Z95 * sqrt(spread) / weight
    return mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def summarise(results: Sequence[ProblemResult], k: int) -> dict[str, Any]:
    """One benchmark as the JSON of DESIGN "Machine output", with the same keys by level, family and language.

    `samples` is per problem, the same for all. Problems without a level (0), family or language ("") are left out of
    the table that needs it. Where samples could not be graded, `ungraded` says how many of all, and their problems have
    only the others: cons@k and pass@k are of as many as there are. `ci95` is pass@1's; `intervals` has those of the
    other numbers, and of cons@k - pass@1 as cons_gain.
    """
    if not any(r.correct for r in results):
        raise ValueError("no problem to summarise: the benchmark is empty, or nothing of it could be graded")
    sizes = sorted({len(r.correct) + r.ungraded for r in results})
    if len(sizes) != 1 or not 1 <= k <= sizes[0]:
        raise ValueError(f"cons@{k} needs the same number of samples for every problem, at least {k}; got {sizes}")
    return {
        **_numbers(results, k),
        "by_level": _grouped(results, k, lambda r: r.level),
        "by_family": _grouped(results, k, lambda r: r.family),
        "by_language": _grouped(results, k, lambda r: r.language),
    }


def _numbers(results: Sequence[ProblemResult], k: int) -> dict[str, Any]:
    graded = [r for r in results if r.correct]
    singles = [fmean(r.correct) for r in graded]
    votes = [cons_at_k(r.answers, r.correct, min(k, len(r.correct))) for r in graded]
    mean, low, high = mean_ci95(singles)
    shares = {  # one value a problem
        f"cons@{k}": votes,
        f"pass@{k}": [pass_at_k(len(r.correct), sum(r.correct), min(k, len(r.correct))) for r in graded],
        "format_rate": [fmean(r.well_formed) for r in graded],
        "readable": [fmean(r.readable) for r in graded if r.readable],
        "language": [fmean(r.consistency) for r in graded if r.consistency],
        "truncated": [fmean(r.truncated) for r in graded],
    }
    found = {name: mean_ci95(values) for name, values in shares.items() if values}
    # From -1..1 to 0..1 and back. The votes are of the same samples, so this is narrower than either's own interval.
    gain = mean_ci95([(vote - single + 1) / 2 for vote, single in zip(votes, singles, strict=True)])
    lengths = [fmean(r.lengths) for r in graded]
    intervals = {name: list(bounds) for name, (_, *bounds) in found.items()}
    intervals |= {"cons_gain": [2 * end - 1 for end in gain[1:]], "mean_tokens": _normal_ci95(lengths)}
    return {
        "pass@1": mean,
        "ci95": [low, high],
        **{name: value for name, (value, *_) in found.items()},
        "mean_tokens": fmean(lengths),
        "intervals": intervals,
        "problems": len(results),
        "samples": len(results[0].correct) + results[0].ungraded,
        "ungraded": sum(r.ungraded for r in results),
    }


def _normal_ci95(values: Sequence[float]) -> list[float] | None:
    """Mean +- 1.96 standard errors, for what has no upper end; None for a single value."""
    if len(values) < 2:
        return None
    half = Z95 * stdev(values) / sqrt(len(values))
    return [fmean(values) - half, fmean(values) + half]


def _grouped(results: Sequence[ProblemResult], k: int, key: Callable[[ProblemResult], Any]) -> dict[str, Any]:
    groups: dict[Any, list[ProblemResult]] = defaultdict(list)
    for result in results:
        if key(result):
            groups[key(result)].append(result)
    return {str(name): _numbers(group, k) for name, group in sorted(groups.items()) if any(r.correct for r in group)}

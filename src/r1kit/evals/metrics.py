"""Benchmark metrics: pass@k, majority voting (cons@k) and confidence intervals. Pure functions.

Symbols: n samples of a problem, c of them right, k the number of samples that vote or of allowed attempts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, sqrt
from statistics import fmean, stdev
from typing import Any, TypeVar

K = TypeVar("K", int, str)

Z95 = 1.959963984540054  # the 97.5th percentile of the standard normal distribution
MAX_VOTERS = 256  # of a vote curve: counting subsets takes time that grows with the cube of the samples
LENGTHS = ("mean_tokens", "mean_thinking_tokens", "mean_answer_tokens")
LENGTH_GROUPS = 8  # of answers, from the shortest to the longest

# The JSON of one benchmark: metric -> value, with tables by level, family and language. Some keys contain k.
Summary = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """One problem of a benchmark with its samples. The tuples have one entry for each graded sample."""

    problem_id: str
    level: int  # 0 if the source has no levels
    family: str
    language: str
    correct: tuple[bool, ...]
    answers: tuple[str | None, ...]  # from `group_answers`: equal answers are equal strings; None has no vote
    well_formed: tuple[bool, ...]
    lengths: tuple[int, ...]  # tokens
    truncated: tuple[bool, ...]  # cut off by the length limit
    ungraded: int = 0  # samples that could not be graded; no mean includes them
    readable: tuple[bool, ...] = ()  # see evals.filters.readability
    consistency: tuple[float, ...] = ()  # samples with thinking: share of its words in the question's language
    credit: tuple[float, ...] = ()  # accuracy from 0 to 1; pass@1 averages it instead of `correct`
    rewards: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # other rewards, by name
    thinking: tuple[int, ...] = ()  # tokens of thinking, part of `lengths`
    extracts: bool = True  # whether the verifier extracts answers; else there is no majority voting

    def __post_init__(self) -> None:
        sizes = {len(x) for x in (self.correct, self.answers, self.well_formed, self.lengths, self.truncated)}
        if len(sizes) != 1 or (sizes == {0} and not self.ungraded):
            raise ValueError(f"problem {self.problem_id}: tuples of sizes {sizes}: must have one entry per sample")


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate the probability that at least one of k samples is right, from n >= k samples, c of them right.

    The unbiased estimator of Chen et al. 2021 (eq. 1): 1 - C(n - c, k) / C(n, k). ValueError for impossible counts.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k}, {c} of {n} samples right: must have 0 <= right <= samples and 1 <= k <= samples")
    return float(1 - Fraction(comb(n - c, k), comb(n, k)))


def g_pass_at_k(n: int, c: int, k: int, tau: float) -> float:
    """Return the probability that at least tau * k of k samples drawn from n are right, c of them right.

    G-Pass@k (Liu et al. 2024, arXiv 2412.13147). ValueError for impossible counts or tau outside 0 to 1.
    """
    if not 0 <= c <= n or not 1 <= k <= n or not 0 <= tau <= 1:
        raise ValueError(
            f"G-Pass@{k} with tau {tau}, {c} of {n} samples right: must have 0 <= right <= samples, 1 <= k <= samples "
            "and 0 <= tau <= 1"
        )
    return float(_at_least(n, c, k, max(1, ceil(Fraction(str(tau)) * k))))


def _at_least(n: int, c: int, k: int, needed: int) -> Fraction:
    ways = sum(comb(c, right) * comb(n - c, k - right) for right in range(needed, min(c, k) + 1))
    return Fraction(ways, comb(n, k))


def mean_g_pass(n: int, c: int, k: int) -> float:
    """Return mG-Pass@k: the mean of G-Pass@k over the shares i/k above one half. ValueError as in `g_pass_at_k`."""
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"mG-Pass@{k}, {c} of {n} right: must have 0 <= right <= samples and 1 <= k <= samples")
    shares = range(ceil(k / 2) + 1, k + 1)
    total = sum(_at_least(n, c, k, needed) for needed in shares)
    return float(2 * total / k)


def cons_at_k(answers: Sequence[str | None], correct: Sequence[bool], k: int) -> float:
    """Return the probability that the majority vote of k samples is right: the exact mean over all k-subsets.

    Samples without an answer (None) do not vote; a vote without voters is wrong. Tied answers share the vote equally.
    A group that was graded both right and wrong counts by the share of its samples that were right.
    """
    n = len(answers)
    if len(correct) != n or not 1 <= k <= n:
        raise ValueError(
            f"cons@{k}, {n} answers, {len(correct)} grades: must have one grade per answer and 1 <= k <= samples"
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


# An evaluation asks for the same votes several times, and counting the subsets of many samples takes long.
_vote = lru_cache(maxsize=1 << 16)(cons_at_k)


def first_vote(answers: Sequence[str | None], correct: Sequence[bool]) -> bool:
    """Return whether the majority vote is right when ties go to the answer that came first, as in lighteval."""
    counts = Counter(answer for answer in answers if answer is not None)  # most_common keeps the order of equal counts
    return bool(counts) and correct[answers.index(counts.most_common(1)[0][0])]


def vote_sizes(k: int) -> list[int]:
    """Return the numbers of voters of a vote curve: powers of two up to k, and k; none for k = 0."""
    return sorted({*(2**i for i in range(k.bit_length())), k} - {0})


def vote_curve(results: Sequence[ProblemResult]) -> dict[int, tuple[float, float]]:
    """Return cons@m by number of voters m: the mean over problems and its standard error. Ties are fair.

    Every value is the exact mean over all m-subsets of the samples, not an estimate from some of them.
    """
    voting = [r for r in results if r.correct and r.extracts]
    k = min((len(r.correct) for r in voting), default=0)
    sizes = [m for m in vote_sizes(k) if m <= MAX_VOTERS]
    curve = {m: [_vote(r.answers, r.correct, m) for r in voting] for m in sizes}
    return {m: (fmean(values), standard_error(values)) for m, values in curve.items()}


def accuracy_by_length(results: Sequence[ProblemResult]) -> list[Summary]:
    """Return the accuracy of answers by length in tokens: up to LENGTH_GROUPS groups of about equally many answers.

    Answers of one length are in one group. The standard error counts problems as clusters; None for a single problem.
    """
    answers = sorted(
        (length, float(credit), r.problem_id)
        for r in results
        for length, credit in zip(r.lengths, r.credit or r.correct, strict=True)
    )
    starts = sorted({answers[i * len(answers) // LENGTH_GROUPS][0] for i in range(LENGTH_GROUPS)}) if answers else []
    groups: list[list[tuple[int, float, str]]] = [[] for _ in starts]
    for answer in answers:
        groups[bisect_right(starts, answer[0]) - 1].append(answer)
    return [_length_group(group) for group in groups]


def _length_group(answers: Sequence[tuple[int, float, str]]) -> Summary:
    lengths, credits_, problems = zip(*answers, strict=True)
    clustered = len(set(problems)) > 1
    return {
        "tokens": [lengths[0], lengths[-1]],
        "mean_tokens": fmean(lengths),
        "answers": len(answers),
        "accuracy": fmean(credits_),
        "standard_error": clustered_standard_error(credits_, problems) if clustered else None,
    }


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean over problems; 0 for a single one."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


def clustered_standard_error(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Return the standard error of a mean whose problems come in clusters, such as questions on one passage.

    The squared sums of the clusters' deviations, with the factor G / (G - 1) for G clusters (Miller 2024,
    arXiv 2411.00640, section 2.2). ValueError for fewer than two clusters, or lists of different lengths.
    """
    mean, sums = fmean(values), defaultdict[Hashable, float](float)
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] += value - mean
    if len(sums) < 2:
        raise ValueError(f"{len(sums)} clusters: must be at least 2 for a standard error")
    return sqrt(sum(total**2 for total in sums.values()) * len(sums) / (len(sums) - 1)) / len(values)


def _subsets_won(winner: str, votes: Mapping[str, int], silent: int, k: int) -> Fraction:
    """Count the k-subsets of the samples in which `winner` has the most votes; a tie of t answers counts 1/t."""
    total = Fraction(0)
    others = [count for answer, count in votes.items() if answer != winner]
    for v in range(1, min(votes[winner], k) + 1):  # the winner's votes in the subset
        ways = {(v, 1): comb(votes[winner], v)}  # (samples drawn, answers with v votes) -> number of draws
        for count in (count for count in others if count >= v):
            grown: Counter[tuple[int, int]] = Counter()
            for (drawn, tied), number in ways.items():
                for j in range(min(v, k - drawn) + 1):  # at most v votes, as `winner` has v
                    grown[drawn + j, tied + (j == v)] += number * comb(count, j)
            ways = grown
        free = silent + sum(count for count in others if count < v)  # samples that can never reach v votes
        for (drawn, tied), number in ways.items():
            total += Fraction(number * comb(free, k - drawn), tied)
    return total


def mean_ci95(per_problem_means: Sequence[float]) -> tuple[float, float, float]:
    """Return (mean, low, high): the mean over problems and its 95 % confidence interval, for values from 0 to 1.

    The interval covers the choice of problems: how far the mean could move with other problems of the same kind. It
    is the Agresti-Coull interval, extended from right/wrong to fractions: z^2 = 3.84 pseudo-problems are added, half
    with value 0 and half with value 1, before taking the normal interval. So it has a width for few problems and for
    means of 0 or 1, where mean +- 2 standard errors has none. It always contains the mean.
    """
    n = len(per_problem_means)
    if not n or not all(0 <= x <= 1 for x in per_problem_means):
        raise ValueError(f"means = {list(per_problem_means)[:5]}: must be one or more values from 0 to 1")
    mean, weight = fmean(per_problem_means), n + Z95**2
    centre = (n * mean + Z95**2 / 2) / weight
    spread = sum((x - centre) ** 2 for x in per_problem_means) + Z95**2 / 2 * (centre**2 + (1 - centre) ** 2)
    half = Z95 * sqrt(spread) / weight
    return mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def summarize(results: Sequence[ProblemResult], k: int) -> Summary:
    """Return the metrics of one benchmark, overall and by level, family and language.

    Problems without a level (0), family or language ("") are left out of that table. `ci95` is the interval of
    pass@1; `intervals` has those of the other metrics, and `cons_gain` for cons@k - pass@1. `ungraded` counts samples
    that could not be graded; for problems with such samples, cons@k and pass@k use a smaller k. `vote_curve` has the
    accuracy of majority voting by number of voters, `by_length` that of answers by length. Problems whose verifier
    extracts no answer have no cons@k: a benchmark of such problems has none, and an empty `vote_curve`.

    Args:
        results: The problems, all with the same number of samples.
        k: The k of cons@k and pass@k; at most the number of samples.
    """
    if not any(r.correct for r in results):
        raise ValueError("no graded samples: the benchmark is empty, or none of its samples could be graded")
    sizes = sorted({len(r.correct) + r.ungraded for r in results})
    if len(sizes) != 1 or not 1 <= k <= sizes[0]:
        raise ValueError(f"cons@{k}, {sizes} samples per problem: must be one number, at least {k}")
    rows = [problem_values(r, k) if r.correct else {} for r in results]
    return {
        **_numbers(results, rows, k),
        "vote_curve": [
            {"voters": m, "accuracy": mean, "standard_error": error} for m, (mean, error) in vote_curve(results).items()
        ],
        "by_length": accuracy_by_length(results),
        "by_level": _grouped(results, rows, k, lambda r: r.level),
        "by_family": _grouped(results, rows, k, lambda r: r.family),
        "by_language": _grouped(results, rows, k, lambda r: r.language),
    }


def problem_values(result: ProblemResult, k: int) -> dict[str, float]:
    """Return the metrics of one problem that has graded samples; their means over problems are the benchmark's.

    Models are compared by them (`evals.paired`). cons@m has the sizes of the vote curve and k.
    """
    single, n = fmean(result.credit or result.correct), len(result.correct)
    voters = {min(m, n): m for m in (*vote_sizes(min(k, MAX_VOTERS)), k)}  # n < k where samples could not be graded
    votes = {f"cons@{m}": _vote(result.answers, result.correct, size) for size, m in voters.items() if result.extracts}
    values = {**votes, f"pass@{k}": pass_at_k(n, sum(result.correct), min(k, n)), "pass@1": single}
    values |= {"format_rate": fmean(result.well_formed)}
    values |= {"readable": fmean(result.readable)} if result.readable else {}
    values |= {"language": fmean(result.consistency)} if result.consistency else {}
    values |= {"truncated": fmean(result.truncated), "mean_tokens": fmean(result.lengths)}
    if result.thinking:
        thinking = fmean(result.thinking)
        values |= {"mean_thinking_tokens": thinking, "mean_answer_tokens": values["mean_tokens"] - thinking}
    return values | {f"rewards/{name}": fmean(each) for name, each in result.rewards.items()}


def _numbers(results: Sequence[ProblemResult], rows: Sequence[Mapping[str, float]], k: int) -> Summary:
    """Return the metrics of these problems; `rows` has the `problem_values` of each, {} without graded samples."""
    graded = [row for row in rows if row]
    names = (f"cons@{k}", f"pass@{k}", "format_rate", "readable", "language", "truncated")
    means = {n: mean_ci95(values) for n in names if (values := [row[n] for row in graded if n in row])}
    mean, low, high = mean_ci95([row["pass@1"] for row in graded])
    # Mapped from -1..1 to 0..1 and back. Paired by problem, so narrower than the two separate intervals.
    gains = [(row[f"cons@{k}"] - row["pass@1"] + 1) / 2 for row in graded if f"cons@{k}" in row]
    lengths = [name for name in LENGTHS if all(name in row for row in graded)]
    unbounded = {n: [row[n] for row in graded] for n in (*lengths, *(f"rewards/{name}" for name in results[0].rewards))}
    intervals: dict[str, list[float] | None] = {name: list(bounds) for name, (_, *bounds) in means.items()}
    intervals |= {"cons_gain": [2 * end - 1 for end in mean_ci95(gains)[1:]]} if gains else {}
    intervals |= {name: _normal_ci95(values) for name, values in unbounded.items()}
    return {
        "pass@1": mean,
        "ci95": [low, high],
        **{name: value for name, (value, *_) in means.items()},
        **{name: fmean(values) for name, values in unbounded.items()},
        "intervals": intervals,
        "problems": len(results),
        "samples": len(results[0].correct) + results[0].ungraded,
        "ungraded": sum(r.ungraded for r in results),
    }


def _normal_ci95(values: Sequence[float]) -> list[float] | None:
    """Return mean +- 1.96 standard errors, for values without an upper bound; None for a single value."""
    if len(values) < 2:
        return None
    half = Z95 * stdev(values) / sqrt(len(values))
    return [fmean(values) - half, fmean(values) + half]


def _grouped(
    results: Sequence[ProblemResult], rows: Sequence[Mapping[str, float]], k: int, key: Callable[[ProblemResult], K]
) -> dict[str, Summary]:
    groups: dict[K, list[int]] = defaultdict(list)
    for index, result in enumerate(results):
        if key(result):
            groups[key(result)].append(index)
    return {
        str(name): _numbers([results[i] for i in group], [rows[i] for i in group], k)
        for name, group in sorted(groups.items())
        if any(rows[i] for i in group)
    }

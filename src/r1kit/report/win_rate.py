"""Win rates between the models of a run, in the sprout worlds, where a rule compares replies."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from r1kit.data.response import split_response
from r1kit.data.worlds.oracle import compare
from r1kit.evals.metrics import mean_ci95
from r1kit.report.collect import Row, Run, Stage
from r1kit.report.comparison import Cell
from r1kit.types import Problem


def win_rates(run: Run, opponent: str, benchmark: str) -> tuple[Cell, ...]:
    """Return, for every evaluate stage, the share of its replies that are preferred to the opponent's.

    A tie counts half. The answers that `collect` keeps of each problem are compared pairwise. The result is empty if
    the benchmark was not evaluated, or consists of other problems than the sprout worlds, for which there is no rule.
    """
    stages = {stage.name: stage for stage in run.stages if stage.results}
    if not _is_world(stages[opponent], benchmark):
        return ()
    theirs = stages[opponent].samples
    tie = Cell(0.5, 0.5, 0.5, (dict.fromkeys(_replies(theirs, benchmark), 0.5),))
    rates = {n: preferred(stage.samples, theirs, benchmark) for n, stage in stages.items() if n != opponent}
    cells = {n: Cell(*mean_ci95([*own.values()]), (own,)) if own else Cell(None) for n, own in rates.items()}
    return tuple(tie if name == opponent else cells[name] for name in stages)


def preferred(ours: Iterable[Row], theirs: Iterable[Row], benchmark: str) -> dict[str, float]:
    """Return problem -> share of our replies that a rule of the sprout worlds prefers; a tie counts half.

    Args:
        ours: Rows of samples.jsonl.
        theirs: Those of the other model, whose samples are compared with ours of the same number.
        benchmark: A benchmark of problems of the sprout worlds.
    """
    one, other = _replies(ours, benchmark), _replies(theirs, benchmark)
    pairs = {key: zip(one[key], other[key], strict=False) for key in one if key in other}
    return {key: fmean(_win(*rows) for rows in each) for key, each in pairs.items()}


def _is_world(stage: Stage, benchmark: str) -> bool:
    benchmarks = stage.config.get("benchmarks")
    sources = benchmarks.get(benchmark) if isinstance(benchmarks, dict) else None
    names = [source.get("source") if isinstance(source, dict) else source for source in sources or ()]
    return bool(names) and all(str(name).startswith("world:") for name in names)


def _replies(samples: Iterable[Row], benchmark: str) -> dict[str, list[Row]]:
    """Return the answers by problem."""
    by_problem: dict[str, list[Row]] = {}
    for row in samples:
        if row.get("benchmark") == benchmark:
            by_problem.setdefault(str(row.get("prompt_id")), []).append(row)
    return by_problem


def _win(one: Row, other: Row) -> float:
    problem = Problem(str(one["prompt_id"]), str(one.get("question")), str(one.get("answer")))
    better = compare(problem, _reply(one), _reply(other))
    return 1.0 if better > 0 else 0.0 if better < 0 else 0.5


def _reply(row: Row) -> str:
    """Return what the user sees: without reasoning and without the tags of R1-Zero's template."""
    response = split_response(str(row.get("completion", "")), think_open=False)
    return response.answer or response.summary

"""How often one model's reply is preferred to another's, in the sprout world, where a rule can judge."""

from __future__ import annotations

from statistics import fmean

from r1kit.data.response import split_response
from r1kit.data.worlds.oracle import compare
from r1kit.evals.metrics import mean_ci95
from r1kit.report.collect import Row, Run, Stage
from r1kit.report.table import Cell
from r1kit.types import Problem


def win_rates(run: Run, opponent: str, benchmark: str) -> tuple[Cell, ...]:
    """For every evaluate stage the share of its replies that are preferred to the opponent's, a tie counting half.

    The answers that `collect` keeps of each problem are judged one by one. Empty when the benchmark was not asked, or
    is none of sprout's worlds: nobody here could say which of two replies is better.
    """
    stages = {stage.name: stage for stage in run.stages if stage.results}
    if not _of_a_world(stages[opponent], benchmark):
        return ()
    theirs = _replies(stages[opponent], benchmark)
    even = Cell(0.5, 0.5, 0.5)
    found = {
        name: even if name == opponent else _win_rate(_replies(s, benchmark), theirs) for name, s in stages.items()
    }
    return tuple(found.values())


def _of_a_world(stage: Stage, benchmark: str) -> bool:
    asked = stage.config.get("benchmarks")
    sources = asked.get(benchmark) if isinstance(asked, dict) else None
    names = [source.get("source") if isinstance(source, dict) else source for source in sources or ()]
    return bool(names) and all(str(name).startswith("world:") for name in names)


def _replies(stage: Stage, benchmark: str) -> dict[str, list[Row]]:
    """Problem -> its answers."""
    found: dict[str, list[Row]] = {}
    for row in stage.samples:
        if row.get("benchmark") == benchmark:
            found.setdefault(str(row.get("prompt_id")), []).append(row)
    return found


def _win_rate(ours: dict[str, list[Row]], theirs: dict[str, list[Row]]) -> Cell:
    pairs = {key: list(zip(ours[key], theirs[key], strict=False)) for key in ours if key in theirs}
    means = [fmean(_won(one, other) for one, other in rows) for rows in pairs.values()]
    return Cell(*mean_ci95(means)) if means else Cell(None)


def _won(one: Row, other: Row) -> float:
    problem = Problem(str(one["prompt_id"]), str(one.get("question")), str(one.get("answer")))
    better = compare(problem, _said(one), _said(other))
    return 1.0 if better > 0 else 0.0 if better < 0 else 0.5


def _said(row: Row) -> str:
    """What the user is told; the tags of R1-Zero's template are not held against it."""
    response = split_response(str(row.get("completion", "")), think_open=False)
    return response.answer or response.summary

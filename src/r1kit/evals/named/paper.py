"""The numbers of the paper's tables, and the benchmarks that they name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class PaperNumber:
    """One number of the paper, in per cent except for ratings and points."""

    model: str
    value: float
    where: str  # the tables, such as "v1 Table 4, v2 Table 8"


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One row of a table."""

    row: str
    benchmark: str  # name of a task; "" for what r1kit does not run
    metric: str  # key of the summary
    numbers: tuple[PaperNumber, ...]
    title: str  # of the table


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Return the rows of all tables, in the order of paper.json."""
    return tuple(
        PaperRow(
            row["row"],
            row["benchmark"],
            row["metric"],
            tuple(PaperNumber(model, number, table["where"]) for model, number in row["values"].items()),
            table["title"],
        )
        for table in _tables()
        for row in table["rows"]
    )


def paper_tasks() -> list[str]:
    """Return the names of the benchmarks of the paper's tables."""
    return list(dict.fromkeys(row.benchmark for row in paper_rows() if row.benchmark))


def paper_numbers(benchmark: str, metric: str) -> list[PaperNumber]:
    """Return every number of the paper for a metric of a benchmark, without repetitions."""
    name = benchmark.partition(":")[0]
    rows = [row for row in paper_rows() if (row.benchmark, row.metric) == (name, metric)]
    first: dict[tuple[str, float], PaperNumber] = {}
    for number in (number for row in rows for number in row.numbers):
        first.setdefault((number.model, number.value), number)
    return list(first.values())


def _tables() -> list[dict[str, Any]]:
    text = files("r1kit.evals.named").joinpath("paper.json").read_text(encoding="utf-8")
    tables: list[dict[str, Any]] = json.loads(text)["tables"]
    return tables

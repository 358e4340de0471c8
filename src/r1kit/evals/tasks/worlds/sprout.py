"""sprout: held-out tasks of the bundled worlds arithmetic, countdown and logic."""

from __future__ import annotations

from r1kit.data.store import DataError
from r1kit.evals.task import Row, Task
from r1kit.types import Problem


def load(limit: int | None) -> list[Problem]:
    """Return the held-out problems of every world in equal shares, 150 of each by default."""
    from r1kit.data.worlds import FAMILIES, world_problems

    shares = [None if limit is None else len(range(start, limit, len(FAMILIES))) for start in range(len(FAMILIES))]
    pairs = zip(FAMILIES, shares, strict=True)
    return [each for name, share in pairs if share != 0 for each in world_problems(name, "held_out", limit=share)]


def read(row: Row) -> Problem:
    """Refuse rows: the problems are generated."""
    raise DataError("sprout is generated and reads no file")


TASK = Task(
    name="sprout",
    title="sprout's worlds",
    n=450,
    k=16,
    metric="pass@1",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="",
    licence="as r1kit",
    load=load,
    template="r1-zero",
    cap=512,
    remarks="for tiny models; English and Chinese, five levels",
)

"""sprout: held-out tasks of the bundled worlds arithmetic, countdown and logic."""

from __future__ import annotations

from r1kit.data.store import DataError
from r1kit.evals.task import Row, Task
from r1kit.types import Problem


def load(limit: int | None) -> list[Problem]:
    """Return the held-out problems of every world, sorted by their ids: the first ones have all worlds and levels."""
    from r1kit.data.worlds import FAMILIES, world_problems

    problems = [each for name in FAMILIES for each in world_problems(name, "held_out")]
    return sorted(problems, key=lambda problem: problem.id)[:limit]


def read(row: Row) -> Problem:
    """Refuse rows: the problems are generated."""
    raise DataError("sprout is generated and reads no file")


TASK = Task(
    name="sprout",
    title="sprout's worlds",
    n=417,
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

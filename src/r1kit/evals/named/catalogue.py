"""The benchmarks as plain values, for `r1kit benchmarks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r1kit.evals.named.harness import command_of
from r1kit.evals.named.paper import paper_tasks
from r1kit.evals.named.sources import FOLDER
from r1kit.evals.task import Task, find_task, task_names


def catalogue(names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the facts about these benchmarks, by default about all. UserError for an unknown name."""
    return [_facts(find_task(name)) for name in names or task_names()]


def _facts(task: Task) -> dict[str, Any]:
    generated = task.load is not None
    return {
        "name": task.name,
        "title": task.title,
        "group": task.group,
        "n": task.n,
        "k": task.k,
        "metric": task.metric,
        "grader": task.verifier or "by problem",
        "licence": task.licence,
        "source": "generated" if generated else task.source or f"a file of yours: {FOLDER / task.name}.jsonl",
        "split": "" if generated or not task.source else task.split,
        "where": task.where,
        "template": task.template,
        "max_completion_length": task.cap,
        "variants": task.variants,
        "in_paper": task.name.partition(":")[0] in paper_tasks(),
        "harness": "" if task.harness is None else command_of(task),
        "remarks": task.remarks,
    }

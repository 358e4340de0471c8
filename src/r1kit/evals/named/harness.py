"""Benchmarks that their authors' programs grade: write the answers in their formats, and read the results back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1kit.data.response import split_response
from r1kit.errors import UserError
from r1kit.evals.task import Answer, Task, find_task, task_names
from r1kit.types import Problem

Row = Mapping[str, Any]
URL = "http://localhost:8000/v1"  # of an endpoint of the model, in the commands that are shown


def write_answers(
    task: Task, problems: Sequence[Problem], rows: Sequence[Row], model: str, folder: Path
) -> dict[str, str]:
    """Write the answers for the benchmark's own program; return their file and the command to run.

    Args:
        task: The benchmark.
        problems: Its problems.
        rows: Their rows of samples.jsonl.
        model: The model's name, for the program's tables.
        folder: Where to write, under the name of the benchmark.
    """
    harness = task.harness
    assert harness is not None and harness.write is not None, f"{task.name} writes no answers"
    by_id = {problem.id: problem for problem in problems}
    name = model.strip("/").replace("/", "-")
    folder = folder / task.name.replace(":", "-")
    file = harness.write([_answer(by_id[str(row["prompt_id"])], row) for row in rows], name, folder)
    return {"file": str(file), "command": command_of(task, name, str(file), str(folder))}


def command_of(task: Task, model: str = "MODEL", file: str = "FILE", folder: str = "FOLDER") -> str:
    """Return the command of the benchmark's own program."""
    assert task.harness is not None, f"{task.name} has no program of its own"
    return task.harness.command.format(model=model, file=file, folder=folder, url=URL)


def refuse_agents(tasks: Mapping[str, Task | None]) -> None:
    """Raise UserError for a benchmark whose program asks the endpoint itself, with the command to run."""
    for task in tasks.values():
        if task is not None and task.harness is not None and task.harness.write is None:
            raise UserError(
                f"{task.name}: its own program asks the model at an endpoint, such as vLLM's or SGLang's: run it "
                f"{command_of(task)}. Then read the results: r1kit score {task.name} FOLDER. Leave {task.name} out here"
            )


def read_results(benchmark: str, path: Path) -> dict[str, float] | None:
    """Return the metrics that a benchmark's own program wrote, in per cent; None if the path is no such file."""
    if benchmark.partition(":")[0] not in task_names():
        return None
    harness = find_task(benchmark).harness
    return harness.read(path) if harness is not None and path.exists() and harness.wrote(path) else None


def harness_names() -> Iterator[str]:
    """Yield the benchmarks whose programs' results can be read."""
    return (name for name in task_names() if find_task(name).harness is not None)


def _answer(problem: Problem, row: Row) -> Answer:
    response = split_response(str(row["completion"]), bool(row["think_open"]))
    summary = response.summary if response.answer is None else response.answer
    return Answer(problem, "" if response.unfinished else summary, row["correct"], int(row["tokens"]))

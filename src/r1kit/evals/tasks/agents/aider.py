"""Aider polyglot: 225 exercises in six languages; the model edits files and sees the failed tests once."""

from __future__ import annotations

import json
from pathlib import Path

from r1kit.data.store import DataError
from r1kit.evals.task import Harness, Row, Task, make_problem, text
from r1kit.types import Problem

N = 225


def read(row: Row) -> Problem:
    """Read an exercise {testcase, instructions}; only the check for contamination needs them."""
    return make_problem(text(row, "instructions"), "", key=text(row, "testcase"))


def read_results(path: Path) -> dict[str, float]:
    """Return the percentages solved within one and two tries, from the .aider.results.json files below a folder.

    A run that leaves exercises out is refused: the harness divides by those it completed.
    """
    files = sorted(path.rglob(".aider.results.json"))
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    done = [run["tests_outcomes"] for run in runs if run.get("tests_outcomes")]
    if len(done) != N:
        raise DataError(f"{path}: {len(done)} completed exercises: must be {N}; run the benchmark again to continue it")
    well_formed = 100 * sum(not run.get("num_malformed_responses") for run in runs) / N
    rates = {f"pass_rate_{tries}": 100 * sum(any(each[:tries]) for each in done) / N for tries in (1, 2)}
    return {**rates, "well_formed": well_formed}


TASK = Task(
    name="aider",
    title="Aider polyglot",
    n=N,
    k=4,
    metric="pass_rate_2",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="harness",
    licence="harness Apache-2.0, exercises MIT",
    where="clone https://github.com/Aider-AI/polyglot-benchmark",
    harness=Harness(
        "in Aider's benchmark container, with OPENAI_API_BASE={url} and OPENAI_API_KEY set: benchmark/benchmark.py "
        "r1kit --model openai/{model} --edit-format diff --threads 4 --exercises-dir polyglot-benchmark",
        read_results,
    ),
    remarks="the model settings file of Aider needs `reasoning_tag: think` and `use_temperature: 0.6`. k runs: 4 is "
    "the fewest that print the paper's digits",
)

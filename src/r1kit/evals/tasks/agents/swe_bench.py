"""SWE-bench Verified: 500 issues of Python repositories; a patch must make the tests pass."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from r1kit.data.store import DataError, write_jsonl
from r1kit.evals.task import Answer, Harness, Row, Task, make_problem, text
from r1kit.rewards.code.blocks import find_blocks
from r1kit.types import Problem

N = 500
_DIFF = re.compile(r"^(?:diff --git|--- )", re.MULTILINE)


def read(row: Row) -> Problem:
    """Read a row. The prompts of SWE-bench's retrieval sets, which hold the source code, are in the field `text`."""
    question = str(row.get("text") or text(row, "problem_statement"))
    return make_problem(question, str(row.get("patch") or ""), family=text(row, "repo"), key=text(row, "instance_id"))


def patch_of(answer: str) -> str:
    """Return the last block of code that is a diff, "" if there is none."""
    diffs = [body for mark, body in find_blocks(answer) if mark in ("", "diff", "patch") and _DIFF.search(body)]
    return diffs[-1].rstrip("\n") + "\n" if diffs else ""


def write(answers: Sequence[Answer], model: str, folder: Path) -> Path:
    """Write predictions.jsonl: {instance_id, model_name_or_path, model_patch}."""
    rows = (
        {
            "instance_id": each.problem.extra["key"],
            "model_name_or_path": model,
            "model_patch": patch_of(each.text),
        }
        for each in answers
    )
    write_jsonl(folder / "predictions.jsonl", rows)
    return folder / "predictions.jsonl"


def read_results(path: Path) -> dict[str, float]:
    """Return the percentage of all 500 instances that are resolved, from the report of the harness."""
    report = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(report, dict) or "resolved_instances" not in report:
        raise DataError(f"{path}: has no resolved_instances: must be the report of swebench's run_evaluation")
    total = int(report.get("total_instances") or N)
    return {
        "resolved": 100 * report["resolved_instances"] / total,
        "empty_patch": 100 * report.get("empty_patch_instances", 0) / total,
        "errors": 100 * report.get("error_instances", 0) / total,
    }


TASK = Task(
    name="swe_bench",
    title="SWE-bench Verified",
    n=N,
    k=1,
    metric="resolved",
    read=read,
    prompt=lambda problem: (
        f"{problem.question}\n\nRespond with one patch in the format of `git diff`, in a block of code marked ```diff."
    ),
    verifier="harness",
    licence="code MIT; the repositories have their own",
    source="princeton-nlp/SWE-bench_Verified",
    harness=Harness(
        "python -m swebench.harness.run_evaluation --dataset_name princeton-nlp/SWE-bench_Verified "
        "--predictions_path {file} --max_workers 8 --run_id {model}",
        read_results,
        lambda path: path.suffix == ".json",
        write,
    ),
    remarks="the paper's patches come from Agentless 1.5: run it with OPENAI_BASE_URL set to an endpoint of the model, "
    "and give its predictions to the same command. Without the field `text`, a prompt has only the issue. The harness "
    "needs Docker, x86-64 and 120 GB",
)

"""AlpacaEval 2.0: 805 instructions; a judge compares the answers with those of GPT-4 Turbo."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from r1kit.data.store import DataError
from r1kit.evals.task import Answer, Harness, Row, Task, make_problem, text
from r1kit.files import write_json
from r1kit.types import Problem


def read(row: Row) -> Problem:
    """Read a row of alpaca_eval_gpt4_baseline.json. The answer is that of the baseline."""
    return make_problem(text(row, "instruction"), str(row.get("output") or ""), family=str(row.get("dataset") or ""))


def write(answers: Sequence[Answer], model: str, folder: Path) -> Path:
    """Write model_outputs.json: [{instruction, output, generator, dataset}]. Outputs have no thinking."""
    rows = [
        {"dataset": each.problem.family, "instruction": each.problem.question, "output": each.text, "generator": model}
        for each in answers
    ]
    write_json(folder / "model_outputs.json", rows)
    return folder / "model_outputs.json"


def read_results(path: Path) -> dict[str, float]:
    """Return both win rates from leaderboard.csv, in per cent. Its last row is the model that was added last."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"win_rate", "length_controlled_winrate"} <= rows[-1].keys():
        raise DataError(f"{path}: must be a leaderboard.csv with win_rate and length_controlled_winrate")
    return {"win_rate": float(rows[-1]["win_rate"]), "lc_win_rate": float(rows[-1]["length_controlled_winrate"])}


TASK = Task(
    name="alpaca_eval",
    title="AlpacaEval 2.0",
    n=805,
    k=1,
    metric="lc_win_rate",
    read=read,
    prompt=lambda problem: problem.question,
    verifier="alpaca_eval",
    licence="data CC BY-NC 4.0",
    source="tatsu-lab/alpaca_eval",
    files=("alpaca_eval_gpt4_baseline.json",),
    harness=Harness(
        "pip install alpaca-eval 'datasets<4' && IS_ALPACA_EVAL_2=True alpaca_eval --model_outputs {file} "
        "--output_path {folder}",
        read_results,
        lambda path: path.suffix == ".csv",
        write,
    ),
    remarks="the paper's judge is gpt-4-1106-preview, which needs OPENAI_API_KEY; other judges change the number",
)

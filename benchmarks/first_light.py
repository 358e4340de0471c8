"""Run sprout-zero with several seeds and write a table of its accuracy before and after RL to docs/results/.

python benchmarks/first_light.py --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from machine import describe, today

from r1kit.metrics.log import read_metrics

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
METRICS = {"pass@1": "pass@1", "cons@16": "cons@16", "format_rate": "format rate"}


def run_seed(recipe: str, seed: int, runs: Path, *options: str) -> dict[str, Any]:
    """Run or continue one seed in its own process; return its JSON line and the duration of its stages."""
    directory = runs / f"{Path(recipe).stem}-{seed}"
    command = [sys.executable, "-m", "r1kit", "run", recipe, "--seed", str(seed), "--run-dir", str(directory), "--json"]
    command += options
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds = [json.loads(path.read_text())["seconds"] for path in directory.glob("stages/*/artifact.json")]
    return {**json.loads(done.stdout.splitlines()[-1]), "run": directory.name, "seed": seed, "seconds": sum(seconds)}


def table(results: list[dict[str, Any]], before: str, after: str, benchmark: str) -> str:
    """Return a Markdown table with one row per seed and their mean."""
    head = ["seed", "minutes", *(f"{name} {when}" for name in METRICS.values() for when in ("before", "after"))]
    rows = []
    for result in results:
        measured = {stage: result["evals"][stage]["benchmarks"][benchmark] for stage in (before, after)}
        values = [measured[stage][key] for key in METRICS for stage in (before, after)]
        rows.append([result["seed"], result["seconds"] / 60, *values])
    rows.append(["mean", *(fmean(row[i] for row in rows) for i in range(1, len(head)))])
    lines = [head, ["---"] * len(head)]
    lines += [[str(row[0]), f"{row[1]:.1f}", *(f"{100 * value:.1f} %" for value in row[2:])] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_level(results: list[dict[str, Any]], stages: tuple[str, str], benchmark: str) -> str:
    """Return a Markdown table of pass@1 by level, as means over seeds."""
    lines = ["| level | before | after |", "| --- | --- | --- |"]
    for level in results[0]["evals"][stages[0]]["benchmarks"][benchmark]["by_level"]:
        by_stage = [
            [result["evals"][stage]["benchmarks"][benchmark]["by_level"][level] for result in results]
            for stage in stages
        ]
        means = [fmean(cell["pass@1"] for cell in cells) for cells in by_stage]
        lines.append(f"| {level} | " + " | ".join(f"{100 * mean:.1f} %" for mean in means) + " |")
    return "\n".join(lines)


def phases(results: list[dict[str, Any]], runs: Path) -> str:
    """Return a Markdown table of the seconds per phase of a step, as means over all steps and seeds."""
    logs = [runs / result["run"] / "stages/zero/metrics.jsonl" for result in results]
    rows = [row for log in logs for row in read_metrics(log)]
    names = ("time/step", "time/rollout", "time/grade", "time/update", "time/eval", "time/save")
    cells = [f"{sum(row.get(name, 0) for row in rows) / len(rows):.2f}" for name in names]
    gap = max(row["sampling/logp_difference_max"] for row in rows)
    head = "| " + " | ".join(name.removeprefix("time/") for name in names) + " |\n" + "| --- " * len(names) + "|"
    difference = f"Largest difference between engine and learner log-probabilities of a token: {gap:.1e}"
    return f"{head}\n| {' | '.join(cells)} |\n\n{difference}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "first-light")
    arguments = parser.parse_args()
    seeds = " ".join(map(str, arguments.seeds))
    results = [run_seed("sprout-zero", seed, arguments.runs) for seed in arguments.seeds]
    stages = ("base", "zero_eval")
    page = f"""# First light: R1-Zero on two CPU cores

Command: `python benchmarks/first_light.py --seeds {seeds}`; each seed is `r1kit run sprout-zero --seed N`
Machine: {describe()}
Date: {today()}

Held-out problems in the R1-Zero template, 16 samples each, temperature 0.6, top-p 0.95.

{table(results, *stages, "sprout")}

pass@1 by level, mean over seeds:

{by_level(results, stages, "sprout")}

Seconds per training step, mean over all steps:

{phases(results, arguments.runs)}
"""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "first-light.md").write_text(page, encoding="utf-8")
    (RESULTS / "first-light.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    after = fmean(r["evals"]["zero_eval"]["benchmarks"]["sprout"]["pass@1"] for r in results)
    before = fmean(r["evals"]["base"]["benchmarks"]["sprout"]["pass@1"] for r in results)
    line = {"bench": "first_light", "ours": after, "peer": before, "ratio": after / before}
    print(page)
    print(json.dumps({**line, "unit": "pass@1 after RL, and before", "machine": describe()}))


if __name__ == "__main__":
    main()

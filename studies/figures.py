"""Print means of a metric in finished runs: the figures that claims give as `explained`.

python studies/figures.py runs/claims/group-size.* --stage zero --metric frac_reward_zero_std --steps 9 20
python studies/figures.py runs/claims/weak-base.* --stage large_zero_eval --metric reasoning/format_rate
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean

from r1kit.metrics.log import read_metrics


def figure(run_dir: Path, stage: str, metric: str, steps: tuple[int, int]) -> float:
    """Return a metric of a stage: BENCHMARK/METRIC of an evaluation, else the mean over steps of training.

    Raises:
        ValueError: The run has no such metric in these steps.
    """
    folder = run_dir / "stages" / stage
    if not folder.is_dir():
        stages = ", ".join(sorted(path.name for path in (run_dir / "stages").glob("*"))) or "none: it is not a run"
        raise ValueError(f"{run_dir}: no stage {stage!r}; its stages: {stages}")
    results, (first, last) = folder / "data/results.json", steps
    if results.is_file():
        benchmark, _, name = metric.partition("/")
        benchmarks = json.loads(results.read_text(encoding="utf-8"))["benchmarks"]
        if name not in benchmarks.get(benchmark, {}):
            raise ValueError(f"{folder}: no {metric}; an evaluation has BENCHMARK/METRIC as in {results.name}")
        values = [benchmarks[benchmark][name]]
    else:
        rows = read_metrics(folder / "metrics.jsonl") if (folder / "metrics.jsonl").is_file() else ()
        values = [row[metric] for row in rows if first <= row["step"] <= last and metric in row]
    if not values:
        raise ValueError(f"{folder}: no {metric} in steps {first} to {last}")
    return fmean(values)


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR")
    parser.add_argument("--stage", required=True)
    parser.add_argument("--metric", required=True)
    parser.add_argument("--steps", type=int, nargs=2, default=(1, 10**9), metavar=("FIRST", "LAST"))
    arguments = parser.parse_args()
    if arguments.steps[0] > arguments.steps[1]:
        parser.error(f"--steps {arguments.steps[0]} {arguments.steps[1]}: the first must not be the larger one")
    try:
        for run_dir in arguments.run_dirs:
            value = figure(run_dir, arguments.stage, arguments.metric, tuple(arguments.steps))
            print(f"{run_dir.name}: {value:.4g}")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

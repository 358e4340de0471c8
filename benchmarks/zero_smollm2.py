"""Run zero-smollm2 with several seeds and write its accuracy before, during and after RL to docs/results/.

python benchmarks/zero_smollm2.py --seeds 0 1 2     # the same command again continues where it was stopped
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from first_light import RESULTS, ROOT, run_seed
from machine import describe, today

from r1kit.metrics.log import read_metrics

BENCHMARK, BEFORE, AFTER = "rules", "base", "after"
SHARES = {
    "pass@1": "accuracy",
    "rewards/rules_kept": "rules kept",
    "rewards/prose": "prose",
    "rewards/on_topic": "on topic",
    "truncated": "cut off",
}
HELD_OUT = f"eval/{BENCHMARK}/pass@1"
CURVES = {
    HELD_OUT: "held-out accuracy",
    "rewards/accuracy/mean": "accuracy",
    "rewards/rules_kept/mean": "rules kept",
    "rewards/prose/mean": "prose",
    "rewards/on_topic/mean": "on topic",
}
SMOOTHED = 5  # steps
SAMPLES = 4  # texts shown


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in (head, ["---"] * len(head), *rows))


def percent(value: float, bounds: Sequence[float] = ()) -> str:
    return f"{100 * value:.1f} %" + (f" ({100 * bounds[0]:.0f} to {100 * bounds[1]:.0f})" if bounds else "")


def summary(result: dict[str, Any], stage: str) -> dict[str, Any]:
    measured: dict[str, Any] = result["evals"][stage]["benchmarks"][BENCHMARK]
    return measured


def by_seed(results: Sequence[dict[str, Any]]) -> str:
    """Return a table with one row per seed, and means over seeds of values and of bounds."""
    both = [[summary(result, stage) for result in results] for stage in (BEFORE, AFTER)]
    columns = [
        [(s[key], s["ci95"] if key == "pass@1" else s["intervals"][key]) for s in stage]
        for key in SHARES
        for stage in both
    ]
    means = [(fmean(v for v, _ in c), [fmean(b[end] for _, b in c) for end in (0, 1)]) for c in columns]
    rows = [
        [result["seed"], f"{result['seconds'] / 60:.0f}", *(percent(*column[i]) for column in columns)]
        for i, result in enumerate(results)
    ]
    minutes = fmean(result["seconds"] for result in results) / 60
    head = ["seed", "minutes", *(f"{name}, {when}" for name in SHARES.values() for when in ("before", "after"))]
    return table(head, [*rows, ["mean", f"{minutes:.0f}", *(percent(*mean) for mean in means)]])


def grouped(results: Sequence[dict[str, Any]], by: str) -> str:
    """Return a table of the accuracy by level or by rule, as means over seeds."""
    groups = list(summary(results[0], BEFORE)[by])

    def mean(stage: str, group: str) -> str:
        return percent(fmean(summary(result, stage)[by][group]["pass@1"] for result in results))

    rows = [[group, mean(BEFORE, group), mean(AFTER, group)] for group in groups]
    return table([by.removeprefix("by_"), "before", "after"], rows)


def read_logs(results: Sequence[dict[str, Any]], runs: Path) -> list[dict[int, dict[str, Any]]]:
    """Return the metrics of every run by step."""
    return [{row["step"]: row for row in read_metrics(runs / r["run"] / "stages/zero/metrics.jsonl")} for r in results]


def curve(logs: Sequence[dict[int, dict[str, Any]]]) -> str:
    """Return a table of what is measured during training, as means over seeds."""
    steps = [step for step, row in logs[0].items() if HELD_OUT in row]
    rows = [[step, *(percent(fmean(log[step][name] for log in logs)) for name in CURVES)] for step in steps]
    return table(["step", *CURVES.values()], rows)


def plot(logs: Sequence[dict[int, dict[str, Any]]], ends: Sequence[Sequence[float]], path: Path) -> None:
    """Draw the curves of training, each step as the mean over seeds of `SMOOTHED` steps, and the held-out accuracy.

    Args:
        logs: The metrics of every run by step.
        ends: For every run, the held-out accuracy before and after RL.
        path: The SVG file.
    """
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(7, 3.4), layout="constrained")
    steps = sorted(logs[0])
    for name, label in CURVES.items():
        if name != HELD_OUT:
            around = [[s for s in steps if abs(s - step) <= SMOOTHED // 2] for step in steps]
            means = [100 * fmean(log[s][name] for log in logs for s in near) for near in around]
            panel.plot(steps, means, label=f"{label} (training)", linewidth=1.2)
    for log, (before, after) in zip(logs, ends, strict=True):
        measured = {step: row[HELD_OUT] for step, row in log.items() if HELD_OUT in row}
        points = {0: before, **measured, steps[-1]: after}
        label = CURVES[HELD_OUT] if log is logs[0] else None
        panel.plot(list(points), [100 * y for y in points.values()], "o--", color="black", linewidth=0.8, label=label)
    panel.set(xlabel="step of GRPO", ylabel="%", xlim=(0, None), ylim=(0, 100))
    panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, metadata={"Date": None})


def texts(result: dict[str, Any], runs: Path) -> str:
    """Return the first texts of a run before and after RL, as they are."""
    stages = runs / result["run"] / "stages"
    both = [
        (stages / stage / "data/samples.jsonl").read_text(encoding="utf-8").splitlines() for stage in (BEFORE, AFTER)
    ]
    pairs = [tuple(map(json.loads, pair)) for pair in zip(*both, strict=True)]
    chosen = [pair for pair in pairs if pair[0]["sample"] == 0][:SAMPLES]
    shown = [
        f"> {one['question']}\n\n- before: {one['completion']!r} ({one['reason']})\n"
        f"- after: {other['completion']!r} ({other['reason']})"
        for one, other in chosen
    ]
    return "\n\n".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "zero-smollm2")
    parser.add_argument("--recipe", default="zero-smollm2")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for zero-smollm2.md, .json and .svg")
    arguments = parser.parse_args()
    results = [run_seed(arguments.recipe, seed, arguments.runs) for seed in arguments.seeds]
    logs = read_logs(results, arguments.runs)
    seeds = " ".join(map(str, arguments.seeds))
    page = f"""# R1-Zero on real weights: SmolLM2-135M-Instruct on two CPU cores

Command: `python benchmarks/zero_smollm2.py --seeds {seeds}`; each seed is `r1kit run zero-smollm2 --seed N`
Machine: {describe()}
Date: {today()}

Held-out problems of `world:instructions`: other topics and other wordings of the rules than in
training. A text counts as right (accuracy) if it keeps all rules, is prose, is on the topic and is
not cut off. 95 % confidence intervals in brackets; the last row is the mean over seeds of values and
bounds.

{by_seed(results)}

{grouped(results, "by_level")}

{grouped(results, "by_family")}

During training (held-out: one sample per problem; the others: that step's rollout):

{curve(logs)}

![Curves of training and held-out accuracy](zero-smollm2.svg)

The first problems of seed {arguments.seeds[0]}, not selected:

{texts(results[0], arguments.runs)}
"""
    arguments.out.mkdir(parents=True, exist_ok=True)
    ends = [[summary(result, stage)["pass@1"] for stage in (BEFORE, AFTER)] for result in results]
    plot(logs, ends, arguments.out / "zero-smollm2.svg")
    (arguments.out / "zero-smollm2.md").write_text(page, encoding="utf-8")
    (arguments.out / "zero-smollm2.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(page)
    before, after = map(fmean, zip(*ends, strict=True))
    line = {"bench": "zero_smollm2", "ours": after, "peer": before, "ratio": after / before if before else None}
    print(json.dumps({**line, "unit": "held-out accuracy after RL, and before", "machine": describe()}))


if __name__ == "__main__":
    main()

"""Run a recipe with an environment with several seeds and write what RL and the environment add to docs/results/.

python benchmarks/sprout_tools.py --seeds 0 1 2                          # the same command again continues
python benchmarks/sprout_tools.py --recipe sprout-turns --seeds 0 1 2
python benchmarks/sprout_tools.py --recipe examples/verifiers/gym-sums.toml   # needs r1kit[verifiers,reasoning-gym]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from first_light import RESULTS, ROOT, run_seed
from machine import describe, today

from r1kit.evals.compare import read_results
from r1kit.evals.paired import Pooled, pool


@dataclass(frozen=True, slots=True)
class Question:
    """What a recipe is for: the evaluations that are shown, and the differences that matter."""

    title: str
    benchmark: str
    stages: Mapping[str, str]  # evaluate stage -> column
    differences: Mapping[str, tuple[str, str]]  # what adds -> (stage with it, stage without it)

    def among(self, evaluated: Collection[str]) -> Question:
        """Return the part of the question that these stages answer."""
        stages = {stage: column for stage, column in self.stages.items() if stage in evaluated}
        differences = {name: sides for name, sides in self.differences.items() if {*sides} <= stages.keys()}
        return replace(self, stages=stages, differences=differences)


QUESTIONS = {
    "sprout-tools": Question(
        "A calculator against working by hand, in the sprout world",
        "bignum",
        {"taught_eval": "calculator, examples", "tools_eval": "calculator, RL", "by_hand_eval": "by hand, RL"},
        {
            "RL with the calculator, over its examples": ("tools_eval", "taught_eval"),
            "the calculator, over working by hand": ("tools_eval", "by_hand_eval"),
        },
    ),
    "sprout-turns": Question(
        "Turns with a user who thinks of a number, in the sprout world",
        "guess",
        {"taught_eval": "examples", "turns_eval": "RL"},
        {"RL, over its examples": ("turns_eval", "taught_eval")},
    ),
    "examples/verifiers/gym-sums.toml": Question(
        "A published environment of verifiers: sums of Reasoning Gym",
        "sums",
        {"taught_eval": "examples", "zero_eval": "RL"},
        {"RL, over its examples": ("zero_eval", "taught_eval")},
    ),
}


def difference(runs: Sequence[Path], question: Question, high: str, low: str) -> Pooled:
    """Return the difference of two evaluations, paired by problem and pooled over the runs."""
    sides = []
    for stage in (high, low):
        scores = [read_results(str(run / stage)).scores[question.benchmark] for run in runs]
        sides.append([{problem: fmean(samples) for problem, samples in each.items()} for each in scores])
    return pool(*sides)


def accuracies(results: Sequence[dict[str, Any]], question: Question) -> str:
    """Return a table with the accuracy of each evaluation, one row for each seed and their mean."""
    values = [[_measured(result, stage, question)["pass@1"] for stage in question.stages] for result in results]
    minutes = [result["seconds"] / 60 for result in results]
    rows = [
        [str(result["seed"]), f"{time:.1f}", *map(_percent, row)]
        for result, time, row in zip(results, minutes, values, strict=True)
    ]
    rows.append(["mean", f"{fmean(minutes):.1f}", *(_percent(fmean(column)) for column in zip(*values, strict=True))])
    return _table(["seed", "minutes", *question.stages.values()], rows)


def by_level(results: Sequence[dict[str, Any]], question: Question) -> str:
    """Return a table of the accuracy by level, as means over seeds, under its heading; "" without levels."""
    measured = {stage: [_measured(result, stage, question) for result in results] for stage in question.stages}
    rows = [
        [level, *(_percent(fmean(each["by_level"][level]["pass@1"] for each in runs)) for runs in measured.values())]
        for level in next(iter(measured.values()))[0]["by_level"]
    ]
    if not rows:
        return ""
    return f"\nBy level, as means over seeds:\n\n{_table(['level', *question.stages.values()], rows)}\n"


def gains(pooled: Mapping[str, Pooled]) -> str:
    """Return a table of the differences in points."""
    rows = []
    for name, each in pooled.items():
        interval = "" if each.ci95 is None else f"{100 * each.ci95[0]:+.1f} to {100 * each.ci95[1]:+.1f}"
        seeds = ", ".join(f"{100 * value:+.1f}" for value in each.by_run)
        rows.append([name, f"{100 * each.difference:+.1f}", interval, seeds])
    return _table(["added by", "points", "95 % interval", "by seed"], rows)


def _measured(result: dict[str, Any], stage: str, question: Question) -> dict[str, Any]:
    summary: dict[str, Any] = result["evals"][stage]["benchmarks"][question.benchmark]
    return summary


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=QUESTIONS, default="sprout-tools")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--until", metavar="STAGE", help="run the recipe to this stage only, such as tools_eval")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "episodes", help="directory for the runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for the page and its .json")
    arguments = parser.parse_args()
    recipe, options = arguments.recipe, ["--until", arguments.until] if arguments.until else []
    results = [run_seed(recipe, seed, arguments.runs, *options) for seed in arguments.seeds]
    question = QUESTIONS[recipe].among(results[0]["evals"])
    runs = [arguments.runs / result["run"] for result in results]
    pooled = {name: difference(runs, question, *sides) for name, sides in question.differences.items()}
    seeds = map(str, arguments.seeds)
    summary = _measured(results[0], next(iter(question.stages)), question)
    page = f"""# {question.title}

Command: `python benchmarks/sprout_tools.py {" ".join(["--recipe", recipe, "--seeds", *seeds, *options])}`
Machine: {describe()}
Date: {today()}

Accuracy on {summary["problems"]} held-out problems, {summary["samples"]} samples each. Minutes are of all stages of a
run; other programs on the machine make them longer, so they are upper bounds.

{accuracies(results, question)}

Differences are paired by problem and pooled over the seeds; the interval is for other seeds and other problems
([how](../evaluation.md#how-many-problems-and-seeds)).

{gains(pooled)}
{by_level(results, question)}"""
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = Path(recipe).stem
    (arguments.out / f"{name}.md").write_text(page, encoding="utf-8")
    content = {"machine": describe(), "date": today(), "results": results}
    content["differences"] = {name: asdict(each) for name, each in pooled.items()}
    (arguments.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()

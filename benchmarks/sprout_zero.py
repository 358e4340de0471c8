"""Train sprout-zero with different settings: what the benchmarks that compare such runs share.

Every run is a process of its own. The same command again continues where it was stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from r1kit.metrics.log import read_metrics
from r1kit.recipe import dump_toml, load_recipe

ROOT = Path(__file__).parents[1]
PHASES = ("time/step", "time/rollout", "time/grade", "time/update")
VALUES = "time/values"  # of a critic
OVERLAPPED = ("time/overlapped/rollout", "time/overlapped/grade")


@dataclass(frozen=True)
class Result:
    """One run: mean seconds of a step by phase, pass@1 after training, and the peak of its process."""

    seconds: dict[str, float]
    accuracy: float
    peak_bytes: int


def write_recipe(runs: Path) -> Path:
    """Write sprout-zero without its evaluation of the base model; return the recipe."""
    recipe = load_recipe("sprout-zero")
    stages = {name: stage for name, stage in recipe.stage.items() if name != "base"}
    runs.mkdir(parents=True, exist_ok=True)
    file = runs / "recipe.toml"
    file.write_text(dump_toml(recipe.model_copy(update={"stage": stages})), encoding="utf-8")
    return file


def log_of(directory: Path) -> Path:
    """Return the log of the training steps of a run."""
    return directory / "stages/zero/metrics.jsonl"


def train(
    directory: Path,
    seed: int,
    changes: Sequence[str],
    threads: int,
    meanwhile: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Result:
    """Run or continue the recipe beside `directory`.

    Args:
        directory: Of the run.
        seed: The recipe's seed.
        changes: Keys of the recipe, as KEY=VALUE.
        threads: Of torch, in each process.
        meanwhile: Called with a run that has just been started.
    """
    command = [sys.executable, "-m", "r1kit", "run", str(directory.with_name("recipe.toml"))]
    command += ["--run-dir", str(directory), "--json", "--seed", str(seed)]
    command += [word for change in changes for word in ("--set", change)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        if meanwhile is not None:
            meanwhile(child)
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    evals = json.loads(output.splitlines()[-1])["evals"]
    rows = read_metrics(log_of(directory))[1:]  # the first step allocates memory
    seconds = {name: fmean(row.get(name, 0.0) for row in rows) for name in (*PHASES, VALUES)}
    seconds["time/step"] -= fmean(row.get("time/eval", 0.0) for row in rows)
    seconds["overlapped"] = fmean(sum(row.get(name, 0.0) for name in OVERLAPPED) for row in rows)
    return Result(
        seconds, evals["zero_eval"]["benchmarks"]["sprout"]["pass@1"], _peak(directory, usage.ru_maxrss * 1024)
    )


def _peak(directory: Path, measured: int) -> int:
    """Return the largest resident set in bytes of all processes that a run had; it is kept beside the run."""
    kept = directory.with_name(f"{directory.name}.peak")
    peak = max(measured, int(kept.read_text()) if kept.exists() else 0)
    kept.write_text(str(peak))
    return peak


def table(title: str, results: Mapping[str, Sequence[Result]], columns: Sequence[str] = PHASES) -> str:
    """Return a Markdown table with a row for each setting, and the time of a step that it saves over the first."""
    head = [title, *(f"{name.removeprefix('time/')}, s" for name in columns), "saved", "pass@1"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    before = _mean(next(iter(results.values())), "time/step")
    for setting, runs in results.items():
        saved = f"{1 - _mean(runs, 'time/step') / before:.0%}" if len(lines) > 2 else ""
        accuracy = f"{100 * fmean(each.accuracy for each in runs):.1f} %"
        lines.append([setting, *(f"{_mean(runs, name):.2f}" for name in columns), saved, accuracy])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mean(runs: Sequence[Result], name: str) -> float:
    return fmean(each.seconds[name] for each in runs)


def points(results: Mapping[str, Sequence[Result]]) -> dict[str, dict[str, object]]:
    """Print and return the difference in pass@1 between each setting and the first, by seed, in points."""
    lines: dict[str, dict[str, object]] = {}
    first = next(iter(results.values()))
    for setting, runs in results.items():
        gains = [100 * (b.accuracy - a.accuracy) for a, b in zip(first, runs, strict=True)]
        print(f"{setting}: pass@1 {fmean(gains):+.1f} points ({', '.join(f'{gain:+.1f}' for gain in gains)})")
        accuracy = [each.accuracy for each in runs]
        lines[setting] = {"pass@1": accuracy, "points": fmean(gains), "points_by_seed": gains}
    return lines

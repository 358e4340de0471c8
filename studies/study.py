"""The command line, the results file and the tables of a study."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from r1kit.evals.metrics import Z95, standard_error

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "studies"


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to answer held-out problems."""

    training: float  # compute before the first question, in passes of a token (`actor.Compute`)
    answering: float  # compute for each question
    accuracy: list[float]  # of each problem


def main(
    name: str,
    study: Callable[[int, Any], dict[str, Any]],
    page: Callable[[Sequence[Mapping[str, Any]]], str],
    sizes: object,
    tiny: object,
) -> None:
    """Run a study with each seed, write `NAME.json`, and print the tables.

    Args:
        name: The study, and its file.
        study: Returns the result of a seed as JSON values.
        page: Returns the results of all seeds as Markdown.
        sizes: Passed to `study`.
        tiny: The same for a short trial (--tiny), which shows nothing but that everything runs.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__, formatter_class=_AsWritten)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help=f"directory of the results; default: {RESULTS.relative_to(ROOT)}")
    parser.add_argument("--tiny", action="store_true", help="try the program, in a minute; writes only to --out")
    arguments = parser.parse_args()
    if min(arguments.seeds) < 0:
        parser.error(f"--seeds {min(arguments.seeds)}: must be at least 0")
    folder = arguments.out or (None if arguments.tiny else RESULTS)
    results = []
    for seed in arguments.seeds:
        start = time.monotonic()
        results.append(_as_stored(study(seed, tiny if arguments.tiny else sizes)))
        print(f"seed {seed}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        if folder is not None:
            options = ["--tiny"] * arguments.tiny + ["--seeds", *map(str, arguments.seeds[: len(results)])]
            _write(folder / f"{name}.json", f"python studies/{name}.py {' '.join(options)}", results)
    print(page(results))


def main_of_runs(
    name: str,
    study: Callable[[Path], dict[str, Any]],
    page: Callable[[Sequence[Mapping[str, Any]]], str],
) -> None:
    """Study finished runs, one a seed, write `NAME.json`, and print the tables.

    Args:
        name: The study, and its file.
        study: Returns the result of a run directory as JSON values. ValueError if it lacks what the study reads.
        page: Returns the results of all runs as Markdown.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__, formatter_class=_AsWritten)
    parser.add_argument("run_dirs", type=Path, nargs="+", metavar="RUN_DIR")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory of the results")
    arguments = parser.parse_args()
    try:
        results = [_as_stored(study(run_dir)) for run_dir in arguments.run_dirs]
    except (ValueError, OSError) as error:
        parser.error(str(error))
    names = " ".join(run_dir.name for run_dir in arguments.run_dirs)
    _write(arguments.out / f"{name}.json", f"python studies/{name}.py {names}", results)
    print(page(results))


_AsWritten = argparse.RawDescriptionHelpFormatter


def _write(path: Path, command: str, results: Sequence[Mapping[str, Any]]) -> None:
    sys.path.append(str(ROOT / "benchmarks"))  # which name the machine as here
    from machine import describe, today

    content = {"command": command, "machine": describe(), "date": today(), "results": results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _as_stored(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as the file holds it, so that tables made now and later are the same."""
    stored: dict[str, Any] = json.loads(json.dumps(result), parse_float=lambda text: round(float(text), 4))
    return stored


def arm_table(arms: Sequence[Mapping[str, Mapping[str, Any]]]) -> str:
    """Return accuracy and compute of each arm as means over seeds, and the difference from the first arm.

    The 95 % interval covers the choice of problems, which are the same in all arms (paired), given these seeds.
    """
    first = next(iter(arms[0]))
    lines = [["answers by", "compute before", "compute per question", "accuracy", f"against {first}"]]
    lines.append(["---", *["---:"] * 4])
    base = _by_problem(arms, first)
    for name in arms[0]:
        accuracy = _by_problem(arms, name)
        differences = [100 * (a - b) for a, b in zip(accuracy, base, strict=True)]
        against = f"{fmean(differences):+.1f} ± {Z95 * standard_error(differences):.1f}" if name != first else ""
        training, answering = (fmean(each[name][key] for each in arms) for key in ("training", "answering"))
        cells = [f"{training / 1e6:.2f} M" if training else "", f"{answering:,.0f}"]
        lines.append([name, *cells, f"{100 * fmean(accuracy):.1f} %", against])
    return markdown(lines)


def _by_problem(arms: Sequence[Mapping[str, Mapping[str, Any]]], name: str) -> list[float]:
    """Return the accuracy on every problem, as the mean over seeds."""
    return [fmean(problem) for problem in zip(*(each[name]["accuracy"] for each in arms), strict=True)]


def curve_table(curves: Sequence[Mapping[Any, Mapping[str, float]]], x: str) -> str:
    """Return shares by x, one column each, as means over seeds."""
    names = list(next(iter(curves[0].values())))
    lines = [[x, *names], ["---:"] * (len(names) + 1)]
    for key in curves[0]:
        lines.append([str(key), *(f"{100 * fmean(curve[key][name] for curve in curves):.1f} %" for name in names)])
    return markdown(lines)


def mean_rows(runs: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Return the means over runs of the metrics of each step, as far as all runs go."""
    return [{key: fmean(row[key] for row in rows) for key in rows[0]} for rows in zip(*runs, strict=False)]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return the rows of a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

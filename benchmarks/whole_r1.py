"""Compare a run of the whole R1 with the paper: write its stage table, as means over seeds, to docs/results/.

python benchmarks/whole_r1.py --seeds 0 1 2                        # run or continue sprout-r1 with each seed
python benchmarks/whole_r1.py --seeds 0 1 2 --until r1_eval        # the same without students
python benchmarks/whole_r1.py --recipe r1-smollm2 --seeds 0        # the same on real weights
python benchmarks/whole_r1.py RUN_DIR RUN_DIR ...                  # use finished runs of one recipe
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import describe, today

from r1kit.report.collect import collect
from r1kit.report.findings import findings, records
from r1kit.report.stage_table import mean_table, stage_table
from r1kit.report.stage_views import markdown

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
PAGES = {"sprout-r1": "whole-r1"}  # a recipe's page, where it is not named after the recipe


def run_seed(recipe: str, seed: int, runs: Path, options: Sequence[str]) -> Path:
    """Run or continue one seed in its own process; return the run directory."""
    directory = runs / f"{recipe}-{seed}"
    command = [sys.executable, "-m", "r1kit", "run", recipe, "--seed", str(seed), "--run-dir", str(directory), "--json"]
    subprocess.run([*command, *options], stdout=subprocess.DEVNULL, check=True)
    return directory


def about(run_dir: Path) -> dict[str, Any]:
    """Return what determined a run, and its duration."""
    lineage = json.loads((run_dir / "lineage.json").read_text(encoding="utf-8"))
    artifacts = [json.loads(path.read_text(encoding="utf-8")) for path in run_dir.glob("stages/*/artifact.json")]
    kept = {key: lineage[key] for key in ("recipe", "seed", "source", "threads", "dtype")}
    return {"run": run_dir.name, **kept, "stages": len(artifacts), "seconds": sum(a["seconds"] for a in artifacts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dirs", type=Path, nargs="*", metavar="RUN_DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[])
    parser.add_argument("--recipe", default="sprout-r1")
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "whole-r1", help="directory for the runs of --seeds"
    )
    parser.add_argument("--until", metavar="STAGE", help="run to this stage only, such as r1_eval")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory for the page and its .json")
    arguments = parser.parse_args()
    options = ["--until", arguments.until] if arguments.until else []
    runs_of = (run_seed(arguments.recipe, seed, arguments.runs, options) for seed in arguments.seeds)
    run_dirs = [*arguments.run_dirs, *runs_of]
    if not run_dirs:
        parser.error("pass finished run directories, or --seeds to run the recipe")
    tables = [stage_table(collect(run_dir)) for run_dir in run_dirs]
    mean, runs = mean_table(tables), [about(run_dir) for run_dir in run_dirs]
    took = [
        f"seed {r['seed']}: {r['stages']} stages, {r['seconds'] / 60:.1f} minutes on {r['threads']} threads"
        for r in runs
    ]
    seeds, recipe = " ".join(str(run["seed"]) for run in runs), runs[0]["recipe"]
    command = " ".join(["python benchmarks/whole_r1.py --recipe", recipe, "--seeds", seeds, *options])
    page = f"""# The whole R1 on two CPU cores: {recipe}

Command: `{command}`; each is `{" ".join(["r1kit run", recipe, "--seed N", *options])}`
Machine: {describe()}
Date: {today()}
Runs: {"; ".join(took)}

Numbers are means over the runs with the mean of their 95 % confidence intervals. The paper's values,
on other problems and with other models, are in italics. Findings are paired by problem and pooled
over the runs; the interval of the difference, in points, is for other seeds and other problems
([how](../evaluation.md#how-many-problems-and-seeds)). "Runs that agree" judges each run by itself.

{markdown(mean, tables)}
"""
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = PAGES.get(recipe, recipe)
    (arguments.out / f"{name}.md").write_text(page, encoding="utf-8")
    content = {"machine": describe(), "date": today(), "runs": runs, "mean": records(mean)}
    content["of each run"] = [records(table) for table in tables]
    (arguments.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(page)
    verdicts = [finding.verdict for finding in findings(mean)]
    line = {"bench": "whole_r1", "ours": verdicts.count("agrees"), "peer": len(verdicts)}
    line |= {"ratio": verdicts.count("agrees") / len(verdicts) if verdicts else 0.0}
    print(json.dumps({**line, "unit": "findings of the paper that are reproduced, and all", "machine": describe()}))


if __name__ == "__main__":
    main()

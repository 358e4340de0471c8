"""Where R1's replies are preferred to those before the last RL stage, by sort of prompt.

python studies/preferences.py RUN_DIR RUN_DIR ...        # finished runs of sprout-r1, one a seed

The win rate of all general prompts hides sorts that gain and sorts that lose. A rule of the sprout world compares the
replies, as in the report.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from study import main_of_runs, markdown

from r1kit.report.win_rate import preferred

STAGE, BEFORE, BENCHMARK = "r1_eval", "dev3_eval", "general"


def of_run(run_dir: Path) -> dict[str, Any]:
    """Return, by family of the prompts, how many there are and the share of replies that win, tie and lose."""
    ours, before = (_rows(run_dir, stage, "samples") for stage in (STAGE, BEFORE))
    families = {row["prompt_id"]: row["family"] for row in _rows(run_dir, STAGE, "problems")}
    outcomes = defaultdict(list)
    for one, other in zip(ours, before, strict=True):
        if one["prompt_id"] != other["prompt_id"]:
            raise ValueError(
                f"{run_dir}: {STAGE} and {BEFORE} have other prompts: evaluate both with the same settings"
            )
        outcomes[families[one["prompt_id"]]].append(preferred([one], [other], BENCHMARK)[one["prompt_id"]])
    prompts = Counter(families.values())
    return {
        family: {
            "prompts": prompts[family],
            "wins": wins.count(1.0) / len(wins),
            "ties": wins.count(0.5) / len(wins),
            "losses": wins.count(0.0) / len(wins),
        }
        for family, wins in outcomes.items()
    }


def _rows(run_dir: Path, stage: str, file: str) -> list[dict[str, Any]]:
    path = run_dir / f"stages/{stage}/data/{file}.jsonl"
    if not path.is_file():
        raise ValueError(f"{run_dir}: no results of a stage {stage}: pass finished runs of sprout-r1")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["benchmark"] == BENCHMARK]


def page(results: Sequence[Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a table with a row for each sort of prompt, as means over seeds."""
    lines = [["prompts", "of this sort", "preferred", "equal", "worse", "win rate", "by seed"]]
    lines.append(["---", *["---:"] * 6])
    for family in results[0]:
        of_seeds = [result[family] for result in results]
        shares = [fmean(each[key] for each in of_seeds) for key in ("wins", "ties", "losses")]
        rates = [each["wins"] + each["ties"] / 2 for each in of_seeds]
        cells = [f"{100 * share:.1f} %" for share in (*shares, fmean(rates))]
        lines.append([family, str(of_seeds[0]["prompts"]), *cells, ", ".join(f"{100 * rate:.1f}" for rate in rates)])
    return markdown(lines)


if __name__ == "__main__":
    main_of_runs("preferences", of_run, page)

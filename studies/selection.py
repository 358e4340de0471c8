"""What reinforcement learning selects: completions with a property against others of the same prompt.

python studies/selection.py RUN_DIR RUN_DIR ...        # finished runs of sprout-r1 or sprout-zero, one a seed

GRPO makes what earns more than the rest of its group more frequent. So whether words of reflection or a second language
spread during R1-Zero depends on whether completions with them are right more often than others of the same group. The
rollouts that a run keeps (every 10th step) tell.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from study import main_of_runs, markdown

from r1kit.evals.metrics import Z95, standard_error
from r1kit.evals.style import other_language_share, reflective_words

PROPERTIES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "a word of reflection": lambda row: reflective_words(row["completion"]) > 0,
    "words of another language": lambda row: other_language_share([row["completion"]], [row["language"]]) > 0,
}


def selection(rollouts: Path) -> dict[str, dict[str, float | list[float]]]:
    """Return, for each property, the share of completions with it and their lead in each group.

    The lead is the mean accuracy reward of completions with the property, less that of those without it.

    Args:
        rollouts: The completions of a step, a JSON object a line.
    """
    rows = [json.loads(line) for line in rollouts.read_text(encoding="utf-8").splitlines()]
    groups = defaultdict(list)
    for row in rows:
        groups[row["prompt_id"]].append(row)
    found: dict[str, dict[str, float | list[float]]] = {}
    for name, has in PROPERTIES.items():
        leads = []
        for group in groups.values():
            rewards: dict[bool, list[float]] = {True: [], False: []}
            for row in group:
                rewards[has(row)].append(row["parts"]["accuracy"])
            if all(rewards.values()):
                leads.append(fmean(rewards[True]) - fmean(rewards[False]))
        found[name] = {"share": fmean(map(has, rows)), "leads": leads}
    return found


def page(results: Sequence[Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a table with a row for each kept step, over all seeds."""
    head = ["step", *(f"{name}: {column}" for name in PROPERTIES for column in ("share", "lead", "groups"))]
    lines = [head, ["---:"] * len(head)]
    for step in results[0]:
        cells = [step]
        for name in PROPERTIES:
            of_seeds = [result[step][name] for result in results]
            leads = [100 * lead for each in of_seeds for lead in each["leads"]]
            lead = f"{fmean(leads):+.0f} ± {Z95 * standard_error(leads):.0f}" if len(leads) > 1 else ""
            cells += [f"{100 * fmean(each['share'] for each in of_seeds):.1f} %", lead, str(len(leads))]
        lines.append(cells)
    note = "A lead is in points of accuracy, over groups that have completions of both sorts; ± is 95 % over groups."
    return f"{note}\n\n{markdown(lines)}"


def of_run(run_dir: Path) -> dict[str, Any]:
    """Return the selection at every kept step of a run's stage `zero`. ValueError if there is none."""
    files = sorted((run_dir / "stages/zero/rollouts").glob("step_*.jsonl"))
    if not files:
        raise ValueError(f"{run_dir}: no rollouts of a stage zero: pass finished runs of sprout-r1 or sprout-zero")
    return {str(int(file.stem.partition("_")[2])): selection(file) for file in files}


if __name__ == "__main__":
    main_of_runs("selection", of_run, page)

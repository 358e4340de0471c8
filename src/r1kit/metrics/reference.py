"""The reference of all metrics and watchdogs, as Markdown.

Update the page with `python -m r1kit.metrics.reference > docs/metrics.md`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping

from r1kit.metrics.glossary import GROUPS
from r1kit.metrics.watchdogs import WATCHDOGS, Watchdog

INTRODUCTION = """\
# Metrics and watchdogs

For everyone who reads a report, `metrics.jsonl` or `results.json`. This page says what each number
means and what to do when it looks wrong. `*` stands for any name, such as that of a benchmark or a
reward; `sft:loss` is `loss` in stages of kind `sft`.

This page is generated from `src/r1kit/metrics/` by `python -m r1kit.metrics.reference`.
"""
WATCHED = """\
## Watchdogs

After every update of an `rl` stage, these conditions are checked. The first alert of each is shown
in the terminal, all of them in the report. `warn` goes on, `stop` ends the stage before the step is
saved. Change it in the stage: `watchdogs = { high_kl = "stop", cut_off = "off" }`.
"""


def render() -> str:
    """Return the reference as Markdown."""
    sections = [INTRODUCTION]
    for title, metrics in GROUPS.items():
        sections += [f"## {title}", "", *_metric_table(metrics), ""]
    return "\n".join([*sections, WATCHED, *_watchdog_table(WATCHDOGS.values()), ""])


def _metric_table(metrics: Mapping[str, str]) -> list[str]:
    return ["| metric | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in metrics.items())]


def _watchdog_table(watchdogs: Iterable[Watchdog]) -> list[str]:
    lines = ["| watchdog | severity | condition | what to do |", "|---|---|---|---|"]
    for dog in watchdogs:
        lines.append(f"| `{dog.name}` | {dog.severity} | {inspect.getdoc(dog.condition)} | {dog.remedy}. |")
    return lines


if __name__ == "__main__":
    print(render(), end="")

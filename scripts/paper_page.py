"""Write docs/paper.md, the paper's claims with the results of r1kit, from docs/results/*.json.

python scripts/paper_page.py > docs/paper.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "docs/results"
INTRODUCTION = """\
# The paper's claims and our results

For readers of the DeepSeek-R1 paper (arXiv 2501.12948 and Nature 645) who want to know what of it
shows in small models. After this page you know which claims were reproduced here, which were not,
and which cannot be judged at this size.

Only the *order* of two numbers can be compared: the paper trains a model of 671 billion parameters
on mathematics and code, r1kit one of 0.9 million on a [small world](sprout.md), and one of 135
million on [short texts](real-models.md#smollm2-135m-instruct-on-two-cores). A claim *agrees* if the
95 % confidence interval of the difference is above zero, paired by problem and pooled over the seeds.

- `sprout-r1`, three seeds: [all rows and intervals](results/whole-r1.md)
- SmolLM2-135M: `zero-smollm2`, three seeds, for R1-Zero ([all figures](results/zero-smollm2.md));
  `r1-smollm2`, one seed, for the other rows ([all rows](results/r1-smollm2.md))

"""
CONCLUSION = """
## What to take from it

- **R1-Zero works at any size tried here.** Rule-based rewards alone raise held-out accuracy far
  beyond the intervals, in the small world and on pretrained weights.
- **Its flaws show too.** It mixes languages, and fewer of its answers are readable than the base's;
  cold start and language reward repair both.
- **The whole order shows.** The cold start costs reasoning, RL recovers it, and R1 ends above
  R1-Zero, with the base's facts mostly kept. 1,004 problems and three seeds are enough for
  differences of two to four points.
- **"No clear difference" does not say that there is none.** The column of SmolLM2 has one seed and
  fewer problems.
- **Distillation beats RL on the same base** where the base can learn at all: the smallest student
  does not. The student of SmolLM2 is no fair race: its control never earned a reward.

This page is written by `python scripts/paper_page.py`.
"""
# What the page says, and the claim in whole-r1.json and r1-smollm2.json.
CLAIMS = (
    ("R1-Zero reasons better than the base", "R1-Zero reasons better than the base", ""),
    ("R1-Zero mixes languages", "R1-Zero mixes languages (below 97%)", ""),
    (
        "The cold start costs reasoning: R1-Zero above R1-Dev1",
        "the cold start costs reasoning: R1-Dev1 below R1-Zero",
        "the cold start costs reasoning: R1-Dev1 below R1-Zero",
    ),
    (
        "The cold start makes answers readable: R1-Dev1 above R1-Zero",
        "the cold start improves readability: R1-Dev1 above R1-Zero",
        "the cold start improves readability: R1-Dev1 above R1-Zero",
    ),
    (
        "The cold start helps to follow instructions: R1-Dev1 above R1-Zero",
        "the cold start helps to follow instructions: R1-Dev1 above R1-Zero",
        "",
    ),
    (
        "RL recovers reasoning: R1-Dev2 above R1-Dev1",
        "RL recovers reasoning: R1-Dev2 above R1-Dev1",
        "RL recovers reasoning: R1-Dev2 above R1-Dev1",
    ),
    (
        "The language reward keeps one language: R1-Dev2 above 97 %",
        "the language reward works: R1-Dev2 at least 97%",
        "the language reward works: R1-Dev2 at least 97%",
    ),
    (
        "The second SFT is preferred: R1-Dev3 above R1-Dev2",
        "the second SFT is preferred: R1-Dev3 above R1-Dev2",
        "",
    ),
    ("The final RL is preferred: R1 above R1-Dev3", "the final RL is preferred: R1 above R1-Dev3", ""),
    ("R1 is preferred to R1-Zero", "R1 is preferred to R1-Zero", ""),
    ("R1 is preferred to the base", "R1 is preferred to the base", ""),
    ("R1 follows instructions better than the base", "R1 follows instructions better than the base", ""),
    ("R1 reasons at least as well as R1-Zero", "R1 reasons at least as well as R1-Zero", ""),
    ("R1 keeps one language: above 97 %", "R1 keeps one language: at least 97%", ""),
    (
        "Majority voting adds to R1-Zero",
        "majority voting beats single answers: R1-Zero",
        "majority voting beats single answers: R1-Zero",
    ),
    ("Majority voting adds to R1", "majority voting beats single answers: R1", ""),
    (
        "Distillation beats RL on the same base: small student",
        "distillation beats RL on the same base: small above small_zero",
        "",
    ),
    (
        "Distillation beats RL on the same base: medium student",
        "distillation beats RL on the same base: medium above medium_zero",
        "",
    ),
    (
        "Distillation beats RL on the same base: large student",
        "distillation beats RL on the same base: large above large_zero",
        "distillation beats RL on the same base: student above student_zero",
    ),
)


def render() -> str:
    """Return the page as Markdown."""
    whole, smol = read("whole-r1"), read("r1-smollm2")
    lines = ["| claim | in the paper | `sprout-r1` | SmolLM2-135M |", "|---|---|---|---|"]
    for text, claim, smol_claim in CLAIMS:
        finding, in_smol = findings(whole["mean"]).get(claim), findings(smol["mean"]).get(smol_claim)
        ours, other = "", ""
        if finding is not None:
            agree = [findings(run)[claim]["verdict"] == "agrees" for run in whole["of each run"]]
            ours = f"{measured(finding)}: **{finding['verdict']}** ({sum(agree)} of {len(agree)} seeds)"
        if claim == "R1-Zero reasons better than the base":
            other = zero_smollm2()
        elif in_smol is not None:
            other = f"{measured(in_smol)}: **{in_smol['verdict']}**"
        if known := finding or in_smol:
            lines.append(f"| {text} | {'<br>'.join(in_paper(known))} | {ours} | {other} |")
    return INTRODUCTION + "\n".join(lines) + "\n" + CONCLUSION


def read(name: str) -> Any:
    """Return the content of a file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def findings(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the findings of a table by their claims."""
    return {finding["claim"]: finding for finding in table["directions"]}


def measured(finding: Mapping[str, Any]) -> str:
    """Return both numbers of a finding, the one that should be lower first."""
    low, high = finding["low"], finding["high"]
    return f"{percent(low['value'])},&nbsp;{percent(high['value'])}"


def in_paper(finding: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paper's numbers for a finding."""
    for benchmark, low, high, _ in finding["paper"]:
        yield f"{benchmark} {low:g},&nbsp;{high:g}"


def zero_smollm2() -> str:
    """Return accuracy before and after `zero-smollm2`, the mean over its seeds."""
    runs = read("zero-smollm2")
    rules = [{stage: run["evals"][stage]["benchmarks"]["rules"] for stage in ("base", "after")} for run in runs]
    before, after = (fmean(each[stage]["pass@1"] for each in rules) for stage in ("base", "after"))
    apart = sum(each["base"]["ci95"][1] < each["after"]["ci95"][0] for each in rules)
    return f"{percent(before)},&nbsp;{percent(after)}: **agrees** ({apart} of {len(rules)} seeds)"


def percent(share: float) -> str:
    """Return a share as per cent with one digit."""
    return f"{100 * share:.1f}&nbsp;%"


if __name__ == "__main__":
    print(render(), end="")

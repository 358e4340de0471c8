"""The results of all claims as text for terminals and as the page `docs/claims.md`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import fill

from r1kit.claim.measure import Finding, State, Verdict
from r1kit.claim.spec import EXAMPLE
from r1kit.console import number

WIDTH = 100  # of paragraphs

INTRODUCTION = """\
# The paper's claims, each one runnable

For readers of the DeepSeek-R1 paper (arXiv 2501.12948 and Nature 645) who want to try a claim
themselves. After this page you know which claims come out in small models, by how much, and how to
run each of them.

```
r1kit claims                           # list them, with their results
r1kit claims cold-start-cost           # run one with seeds 0, 1 and 2, or continue it
r1kit claims cold-start-cost --again   # run it although it has a recorded result
r1kit claims --all --dry-run           # what is still to run, and about how long it takes
r1kit claims --all --page docs/claims.md   # run what is missing, and write this page
```

R1-Zero is the base after RL, R1-Dev1 the base after the cold start, R1-Dev2 that after RL for
reasoning, R1-Dev3 the base after the second SFT, R1 that after the last RL
([the pipeline](pipeline.md)). pass@1, cons@k and other terms are in the [glossary](glossary.md).

A claim is a file in `claims/`: the paper's sentence in our words, recipes, and comparisons of two
numbers with the band in which the difference counts as confirmed. Runs are kept in `runs/claims`;
stages that claims have in common run once, and `--reuse RUN` takes finished stages of another run,
such as one of `sprout-r1`. `r1kit claims FILE.toml` runs
[a claim of your own](#a-claim-of-your-own).

A claim that has run is recorded in `docs/results/claims/NAME.json` (`--results DIR`), and then needs
neither its runs nor a second run: the claims can be run in portions, on several days and machines.
Run all seeds of a claim in one directory of runs. The list, `--page` and `--dry-run` take runs that
are here, or else the record. `--all` begins with the claims that have the least left to run, so that
those with common stages follow each other; interrupt it at any time, and write the page with
`r1kit claims --page FILE`.

- **confirmed**: the 95 % interval of every difference is inside its band. **refuted**: that of one
  is outside. **open**: neither, so these seeds and problems cannot tell.
- Differences of evaluations are paired by problem and pooled over seeds, with the variance between
  seeds ([how](evaluation.md#how-many-problems-and-seeds)). They are in points where the numbers are
  shares. Metrics of training have one value a seed.
- Where a claim says that a model is as good as another, the band allows 5 points: three seeds find
  less than that too seldom ([how often](evaluation.md#how-many-problems-and-seeds)).
- A record names the settings, base models and data of its runs, and what was measured in them. If
  any of these is another one today, the result is shown as **of an earlier recipe**, counts as
  neither confirmed nor refuted, and `r1kit claims` runs the claim again. Leaving it out would hide
  that the claim has run; counting it would compare models of different recipes. Bands and wording
  are always those of today's claim file.
- Claims that were open after seeds 0 to 2 have run with seed 3 too, except those with the longest
  runs: group-size, grpo-against-ppo and length-cap.
- Only the order of two numbers compares with the paper's: its model has 671 billion parameters,
  ours one million, on a [small world](sprout.md).
"""
FIGURES = """\
Where an explanation has figures without a command, they are metrics of the claim's own runs, as
[`studies/figures.py`](studies.md#figures-of-a-claim-that-did-not-come-out) prints them."""
EARLIER = "of an earlier recipe"  # or base model, or measures
SIGNS: dict[State, str] = {"confirmed": "confirmed", "open": "open", "refuted": "**refuted**", "not run": "not run"}


def page(verdicts: Sequence[Verdict]) -> str:
    """Return the Markdown page."""
    judged = [verdict for verdict in verdicts if verdict.current and verdict.state != "not run"]
    states = Counter(verdict.state for verdict in judged)
    earlier = sum(not verdict.current for verdict in verdicts)
    summary = f"{states['confirmed']} of the {len(judged)} claims that have run are confirmed, "
    summary += (
        f"{states['open']} are open, {states['refuted']} refuted. Not run: {len(verdicts) - len(judged) - earlier}."
    )
    summary += f" {EARLIER.capitalize()}, not counted: {earlier}." if earlier else ""
    rows = ["| claim | paper | state |", "|---|---|---|"]
    rows += [f"| [{v.claim.claim}](#{v.name}) | {v.claim.theirs} | {_sign(v)} |" for v in verdicts]
    sections = ["\n".join(_section(verdict)) for verdict in verdicts]
    missing = [f"- [{v.name}](#{v.name}): {_shortfall(v)}" for v in judged if v.state != "confirmed"]
    what_did_not = ["## What did not come out", FIGURES, "\n".join(missing)] if missing else []
    own = f"## A claim of your own\n\n```toml\n{EXAMPLE}```"
    note = "This page is written by `r1kit claims --page docs/claims.md`, which runs nothing: NAMES or `--all` do."
    return "\n\n".join([f"{INTRODUCTION}\n{summary}", "\n".join(rows), *what_did_not, *sections, own, note]) + "\n"


def _sign(verdict: Verdict) -> str:
    return SIGNS[verdict.state] if verdict.current else f"{verdict.state} {EARLIER}"


def _section(verdict: Verdict) -> Iterator[str]:
    claim = verdict.claim
    yield f"## {verdict.name}\n"
    paper = f"Paper ({claim.paper}): {claim.theirs}." if claim.theirs else f"Paper: {claim.paper}."
    yield fill(f"{claim.claim} {paper} {claim.note}".strip(), WIDTH) + "\n"
    yield "| measure | should be lower | should be higher | difference | by seed | band | state |"
    yield "|---|---|---|---|---|---|---|"
    for finding in verdict.findings:
        yield f"| {' | '.join(_cells(finding))} | {SIGNS[finding.state]} |"
    if (made := verdict.made) is not None:
        seeds = f"{'Seed' if len(verdict.seeds) == 1 else 'Seeds'} {', '.join(map(str, verdict.seeds))}"
        counts = " and ".join(dict.fromkeys(f"{f.problems:,}" for f in verdict.findings if f.problems))
        problems = [f"{counts} problems"] if counts else []
        minutes = f"{max(1, round(made.seconds / 60))} minutes in all"
        facts = [seeds, *problems, minutes, made.machine, made.date]
        yield "\n" + fill("; ".join(facts) + ("." if verdict.current else f". Result {EARLIER}."), WIDTH)


def _shortfall(verdict: Verdict) -> str:
    missed = "; ".join(
        f"{f.what}: {_difference(f)}, needed {_band(f)} ({f.state})" for f in verdict.findings if f.state != "confirmed"
    )
    return f"{missed}. {verdict.claim.explained}".removesuffix(" ")


def _cells(finding: Finding) -> tuple[str, ...]:
    by_seed = ", ".join(_amount(finding, value, signed=True) for value in finding.by_seed)
    ends = (_amount(finding, finding.low), _amount(finding, finding.high))
    return finding.what, *ends, _difference(finding), by_seed, _band(finding)


def _difference(finding: Finding) -> str:
    if finding.low is None or finding.high is None:
        return ""
    difference = _amount(finding, finding.high - finding.low, signed=True)
    if finding.ci95 is None:
        return difference
    least, most = (_amount(finding, end, signed=True) for end in finding.ci95)
    return f"{difference} ({least} to {most})"


def _band(finding: Finding) -> str:
    above, below = (_amount(finding, end, signed=True) if end else "0" for end in finding.band)
    return f"above {above}" if finding.band[1] is None else f"above {above}, below {below}"


def _amount(finding: Finding, value: float | None, signed: bool = False) -> str:
    """Format a share of an evaluation in per cent or points, and any other number as it is."""
    if value is None:
        return ""
    if is_share(finding.metric):
        return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f} %"
    return ("+" if signed and value >= 0 else "") + number(value, 3)


def is_share(metric: str) -> bool:
    """Return whether a metric is a share from 0 to 1 of an evaluation."""
    names = ("pass@", "cons@", "format_rate", "readable", "language", "truncated", "win_rate")
    return metric.partition("/")[2].startswith(names)


def lines(verdict: Verdict) -> Iterator[str]:
    """Yield a claim for the terminal: its state, and a line for each finding of finished runs."""
    yield f"{verdict.state if verdict.current else 'outdated':10} {verdict.name}: {verdict.claim.claim}"
    for finding in verdict.findings if verdict.seeds else ():
        low, high = _amount(finding, finding.low), _amount(finding, finding.high)
        yield f"{'':11}{finding.state}: {finding.what}: {low}, {high}; difference {_difference(finding)}"

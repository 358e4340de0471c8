"""Terminal tables of benchmarks: the list of them, the protocol behind numbers, the paper's numbers, comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from r1kit.console import printable
from r1kit.report.collect import is_number

# Of the paper's models, those that fit beside ours in a terminal; --json has all.
SHOWN_MODELS = (
    "R1",
    "R1-Zero",
    "R1-Distill-Qwen-32B",
    "R1-Distill-Qwen-7B",
    "R1-Distill-Qwen-1.5B",
    "o1-1217",
    "DeepSeek-V3",
)
JUDGE_METRICS = (  # of SimpleQA, Arena-Hard and AlpacaEval
    *("correct", "incorrect", "not_attempted", "attempted_accuracy", "f_score"),
    *("score", "win_rate", "discrete_win_rate", "judge_binary", "judge_unparsed"),
)
NOT_PER_CENT = ("rating", "points", "solved")  # metrics of the paper that are no percentages

Facts = Mapping[str, Any]


def benchmark_table(rows: Sequence[Facts]) -> Group:
    """Return two lines for each benchmark, by group; an asterisk marks those of the paper's tables."""
    columns = "{:<18}{:>12}  {:<13}{}".format
    lines = [Text(columns("name", "n x k", "metric", "grader"), style="bold")]
    for group in dict.fromkeys(row["group"] for row in rows):
        lines.append(Text(f"\n{group.replace('_', ' ')}", style="italic"))
        for row in (row for row in rows if row["group"] == group):
            name = f"{row['name']}{' *' if row['in_paper'] else ''}"
            lines.append(Text(columns(name, f"{row['n']:,} x {row['k']}", row["metric"], row["grader"])))
            lines.append(Text(f"  {row['source']}; {row['licence']}", style="dim"))
    lines.append(Text("\n* in the paper's tables, which --bench paper stands for"))
    return Group(*lines, Text("`r1kit benchmarks NAME` shows more"))


def benchmark_details(rows: Sequence[Facts]) -> Group:
    """Return every fact about these benchmarks."""
    tables = []
    for row in rows:
        table = Table(box=None, show_header=False, title=Text(row["title"]), title_justify="left")
        for key, value in row.items():
            if value not in ("", False):
                table.add_row(Text(key, style="bold"), Text("yes" if value is True else str(value)))
        tables.append(table)
    return Group(*tables)


def protocol_and_paper(summaries: Mapping[str, Facts]) -> Group:
    """Return how each number was measured, what qualifies it, and the paper's numbers beside ours."""
    parts: list[RenderableType] = [Text("Protocol", style="italic")]
    parts += [Text("  " + line) for name, summary in summaries.items() for line in protocol_lines(name, summary)]
    if any("paper" in summary for summary in summaries.values()):
        parts.append(_paper_table(summaries))
    return Group(*parts)


def protocol_lines(name: str, summary: Facts) -> Iterator[str]:
    """Yield the protocol of a benchmark as text."""
    stated = summary.get("protocol")
    if stated is None:
        return
    system = f"system prompt {stated['system_prompt']!r}" if stated["system_prompt"] else "no system prompt"
    top_k = f", top-k {stated['top_k']}" if stated["top_k"] else ""
    yield (
        f"{name}: template {stated['template']}, {system}, temperature {stated['temperature']:g}, "
        f"top-p {stated['top_p']:g}{top_k}, k = {stated['samples']}, cap {stated['max_completion_length']:,} tokens"
    )
    yield f"  graded: text {stated['graded_text']}; answer: {stated['extraction']}"
    if judge := stated.get("judge"):
        yield f"  {_judge_line(judge)}"
    if shares := [f"{key} {100 * summary[key]:.1f} %" for key in JUDGE_METRICS if is_number(summary.get(key))]:
        yield f"  {', '.join(shares)}"
    counts = f"  {stated['denominator']:,} completions of {summary['problems']:,} problems"
    published = stated["published_problems"]
    counts += f" (published: {published:,})" if published and published != summary["problems"] else ""
    rates = [
        f"{label} {100 * summary[key]:.1f} %"
        for key, label in (("unparsed", "unparsed"), ("truncated", "truncated"))
        if is_number(summary.get(key))
    ]
    if is_number(summary.get("standard_error")):
        rates.append(f"standard error over problems {100 * summary['standard_error']:.1f}")
    yield "; ".join([counts, *rates])
    if is_number(summary.get("mean_thinking_tokens")):
        yield f"  {_length_line(summary)}"
    if "harness" in summary:
        yield f"  answers for the benchmark's own program: {summary['harness']['file']}"
        yield f"  next: {summary['harness']['command']}"


def _length_line(summary: Facts) -> str:
    """Return the mean numbers of tokens of thinking and answer, also of right and of wrong answers."""
    parts = [(summary["mean_thinking_tokens"], summary["mean_answer_tokens"], "")]
    lengths: Mapping[str, Facts] = summary.get("lengths", {})
    parts += [(each["thinking_tokens"], each["answer_tokens"], f" if {name}") for name, each in lengths.items()]
    return f"tokens, thinking + answer: {', '.join(f'{t:,.0f} + {a:,.0f}{when}' for t, a, when in parts)}"


def _judge_line(judge: Facts) -> str:
    """Return who judged, and whether the numbers can be compared with the paper's."""
    line = f"judge: {judge['model']}, prompt {judge['prompt']}"
    if judge["paper"] == judge["model"]:
        return f"{line}; the prompt differs from the paper's"
    whose = judge["paper"] or "it does not name its own"
    return f"{line}; the judge differs from the paper's ({whose}), so the numbers do not compare"


def _paper_table(summaries: Mapping[str, Facts]) -> Table:
    table = Table(
        title="Beside the paper",
        title_justify="left",
        box=SIMPLE_HEAD,
        caption="per cent, except ratings; --json has all of the paper's models",
    )
    table.add_column("")
    for model in ("ours", *SHOWN_MODELS):
        table.add_column(model.removeprefix("R1-"), justify="right")
    for label, cells in beside_paper([summaries]):
        table.add_row(Text(label), *cells)
    return table


def beside_paper(evaluations: Sequence[Mapping[str, Facts]]) -> Iterator[tuple[str, list[str]]]:
    """Yield a row for each metric that the paper has: its label, the number of each evaluation, then SHOWN_MODELS."""
    for name in dict.fromkeys(name for summaries in evaluations for name in summaries):
        own = [summaries.get(name, {}) for summaries in evaluations]
        tables: dict[str, Mapping[str, float]] = {}
        for summary in own:
            tables |= summary.get("paper", {})
        for metric, numbers in tables.items():
            papers = [f"{numbers[model]:g}" if model in numbers else "-" for model in SHOWN_MODELS]
            yield f"{name} {metric}", [*(_ours(summary.get(metric), metric) for summary in own), *papers]


def _ours(value: object, metric: str) -> str:
    if not is_number(value):
        return "-"
    assert isinstance(value, int | float)
    return f"{value:g}" if metric in NOT_PER_CENT else f"{100 * value:.1f}"


def paired_table(compared: Mapping[str, Any]) -> Group:
    """Return a row for each benchmark, and what differs in how the two were measured."""
    table = Table(
        title=Text(printable(f"A = {compared['a']}, B = {compared['b']}")),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,  # all columns fit into 80 characters
        pad_edge=False,
        caption="per cent; range: 95 % confidence interval of the difference, paired by problem. Detectable: the "
        "smallest true difference that such a comparison finds in 80 % of all cases",
    )
    for heading in ("", "prob-\nlems", "A", "B", "A - B", "range", "p", "A\nbetter", "B\nbetter", "detect-\nable"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    notes: list[RenderableType] = []
    for name, each in compared["benchmarks"].items():
        low, high = each["ci95"]
        shown = [f"{100 * each[key]:.1f}" for key in ("a", "b")]
        shown += [
            f"{100 * each['difference']:+.1f}",
            f"{100 * low:+.1f}..{100 * high:+.1f}",
            f"{each['p_value']:.2g}",
        ]
        counts = (str(each["better_a"]), str(each["better_b"]))
        detectable = f"{100 * each['minimum_detectable']:.1f}"
        table.add_row(Text(printable(name)), f"{each['problems']:,}", *shown, *counts, detectable)
        notes.append(Text(printable(f"{name}: p by the {each['test']} test")))
        if any(each["left_out"]):
            notes.append(Text(f"  problems of one side only: A {each['left_out'][0]:,}, B {each['left_out'][1]:,}"))
        notes += [Text(printable(f"  warning: differs in {line}"), style="yellow") for line in each["differs"]]
    if compared["remark"]:
        notes.insert(0, Text(compared["remark"], style="yellow"))
    return Group(table, *notes)

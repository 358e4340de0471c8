"""The stage table and the findings as lines of text, for the page, the terminal and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from r1kit.report.comparison import Cell, format_cell
from r1kit.report.findings import Finding, Verdict, findings
from r1kit.report.stage_table import Column, StageRow, StageTable, paper_rows


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the stage table: a row of the run, or the paper's numbers for that row."""

    benchmark: str
    label: str
    cells: tuple[tuple[str, str], ...]  # (number, interval), one per column
    from_paper: bool


@dataclass(frozen=True, slots=True)
class FindingLine:
    """One line of the table of findings."""

    claim: str
    low: str
    high: str
    difference: str  # 95 % confidence interval of the difference, in points
    verdict: Verdict
    paper: str  # benchmark, both numbers and the source


FINDING_HEADINGS = ("finding", "expected lower", "expected higher", "difference", "in this run", "in the paper")


def table_lines(rows: Sequence[StageRow], columns: Sequence[Column]) -> Iterator[Line]:
    """Yield each row, followed by the paper's numbers for the models in these columns."""
    for row in rows:
        benchmark = row.key.partition("/")[0]
        yield Line(benchmark, row.label, tuple(format_cell(row.metric, cell) for cell in row.cells), False)
        for paper in (paper for paper in paper_rows() if paper.row == row.key):
            numbers = [f"{paper.values[c.role]:g}" if c.role in paper.values and _in_paper(c) else "" for c in columns]
            if any(numbers):
                yield Line(benchmark, f"paper: {paper.benchmark}", tuple((number, "") for number in numbers), True)


def _in_paper(column: Column) -> bool:
    """Return whether the paper has this model. Its students have other base models, so they do not count."""
    return not column.role.startswith("student")


def finding_lines(table: StageTable) -> list[FindingLine]:
    """Return the findings that the table's models allow to check."""
    return [_finding_line(finding) for finding in findings(table)]


def _finding_line(finding: Finding) -> FindingLine:
    paper = "; ".join(f"{name} {low:g}, {high:g} ({source})" for name, low, high, source in finding.paper)
    between = "" if finding.difference is None else " to ".join(f"{100 * end:+.1f}" for end in finding.difference)
    return FindingLine(finding.claim, _share(finding.low), _share(finding.high), between, finding.verdict, paper)


def _share(cell: Cell) -> str:
    """Format a measured share with its interval, a constant without."""
    number, interval = format_cell("pass@1", cell)
    return number if cell.low == cell.high else f"{number} {interval}".strip()


def markdown(table: StageTable, runs: Sequence[StageTable]) -> str:
    """Return two Markdown tables: `table`, the mean of `runs`; and in how many runs each finding agrees."""
    lines = [("", *(column.title for column in table.columns)), ("---",) * (len(table.columns) + 1)]
    benchmark = None
    for line in table_lines(table.rows, table.columns):
        if line.benchmark != benchmark:
            benchmark = line.benchmark
            lines.append((f"**{benchmark}**", *[""] * len(table.columns)))
        cells = (" ".join(filter(None, cell)) for cell in line.cells)
        lines.append(tuple(text and f"*{text}*" if line.from_paper else text for text in (line.label, *cells)))
    *headings, paper_heading = FINDING_HEADINGS
    checks = [(*headings, "runs that agree", paper_heading), ("---",) * (len(FINDING_HEADINGS) + 1)]
    verdicts = [{finding.claim: finding.verdict for finding in findings(run)} for run in runs]
    for check in finding_lines(table):
        count = sum(verdict.get(check.claim) == "agrees" for verdict in verdicts)
        agree = f"{count} of {len(runs)}"
        checks.append((check.claim, check.low, check.high, check.difference, check.verdict, agree, check.paper))
    return "\n\n".join("\n".join(f"| {' | '.join(line)} |" for line in part) for part in (lines, checks))

"""The stage table and its directions for people: in the terminal, on the page, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from r1kit.report.directions import Direction, Verdict, directions
from r1kit.report.stage_table import Column, StageRow, StageTable, paper_rows
from r1kit.report.table import Cell, printable, show

COLUMNS_IN_TERMINAL = 6  # beside each other; the others follow below
STYLES: dict[Verdict, str] = {
    "agrees": "green",
    "disagrees": "red",
    "no clear difference": "yellow",
    "not measured": "",
}
HEADINGS = ("finding", "lower", "higher", "here", "in the paper")


def _lines(rows: Sequence[StageRow], columns: Sequence[Column]) -> Iterator[tuple[str, StageRow | None, list[str]]]:
    """(label, the row, its numbers), and below it what the paper has for these columns: (benchmark, None, numbers)."""
    for row in rows:
        yield row.label, row, [" ".join(filter(None, show(row.metric, cell))) for cell in row.cells]
        for paper in (paper for paper in paper_rows() if paper.row == row.key):
            numbers = [f"{paper.values[c.role]:g}" if c.role in paper.values and _is_papers(c) else "" for c in columns]
            if any(numbers):
                yield f"paper: {paper.benchmark}", None, numbers


def _is_papers(column: Column) -> bool:
    """Whether the paper has this very model; its students are none of ours."""
    return not column.role.startswith("student")


def _finding(found: Direction) -> tuple[str, ...]:
    """The cells under HEADINGS."""
    paper = "; ".join(f"{name} {low:g}, {high:g} ({source})" for name, low, high, source in found.paper)
    return found.claim, _share(found.low), _share(found.high), found.verdict, paper


def _share(cell: Cell) -> str:
    """A measured share with its interval; a given one without."""
    number, interval = show("pass@1", cell)
    return number if cell.low == cell.high else f"{number} {interval}".strip()


def text(table: StageTable) -> Group:
    """For the terminal: the columns in blocks, then the directions."""
    blocks = []
    for start in range(0, len(table.columns), COLUMNS_IN_TERMINAL):
        chosen = slice(start, start + COLUMNS_IN_TERMINAL)
        rows = [StageRow(row.key, row.label, row.metric, row.cells[chosen]) for row in table.rows]
        blocks.append(_block(rows, table.columns[chosen]))
    found = Table(title="As in the paper?", title_justify="left", box=SIMPLE_HEAD)
    for heading in HEADINGS[:-1]:
        found.add_column(heading)
    for direction in directions(table):
        claim, low, high, here, _ = _finding(direction)
        found.add_row(Text(printable(claim)), low, high, Text(here, style=STYLES[direction.verdict]))
    return Group(*blocks, found)


def _block(rows: Sequence[StageRow], columns: Sequence[Column]) -> Table:
    block = Table(
        title="Every model",
        title_justify="left",
        box=SIMPLE_HEAD,
        caption="per cent (but for tokens), with 95 % intervals",
    )
    block.add_column("", no_wrap=True)
    for column in columns:
        block.add_column(Text(printable(column.title)), justify="right")
    benchmark = None
    for label, row, numbers in _lines(rows, columns):
        if row is not None and (name := row.key.partition("/")[0]) != benchmark:
            benchmark = name
            block.add_section()
            block.add_row(Text(printable(name), style="bold"))
        block.add_row(
            Text(f"  {printable(label)}"), *(n.replace(" %", "") for n in numbers), style=None if row else "dim italic"
        )
    return block


def html(table: StageTable) -> str:
    """For the page: the whole table, and the directions."""
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in table.columns)
    body, benchmark = [], None
    for label, row, numbers in _lines(table.rows, table.columns):
        if row is not None and (name := row.key.partition("/")[0]) != benchmark:
            benchmark = name
            body.append(f'<tr class="sub"><th colspan="{len(table.columns) + 1}">{escape(name)}</th></tr>')
        cells = "".join(f"<td>{_cell(*show(row.metric, c))}</td>" for c in row.cells) if row else ""
        cells = cells or "".join(f"<td>{number}</td>" for number in numbers)
        body.append(f'<tr class="{"" if row else "paper"}"><th scope="row">{escape(label)}</th>{cells}</tr>')
    grid = f'<table class="stage-table"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    return f'<div class="scroll">{grid}</div>{_findings(directions(table))}'


def _cell(number: str, interval: str) -> str:
    return f"<b>{number}</b>" + (f" <small>{interval}</small>" if interval else "")


def _findings(found: Sequence[Direction]) -> str:
    head = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    rows = []
    for direction in found:
        claim, low, high, here, paper = map(escape, _finding(direction))
        kind = direction.verdict.replace(" ", "-")
        rows.append(f'<tr><th scope="row">{claim}</th><td>{low}</td><td>{high}</td><td class="{kind}">{here}</td>'
                    f"<td><small>{paper}</small></td></tr>")  # fmt: skip
    return (
        "<h3>As in the paper?</h3><p>A finding agrees when the 95 % interval of the difference is above zero, and "
        "disagrees when it is below. The paper's numbers are of other problems and other models: what can be "
        "compared is which of two is higher.</p>"
        f'<div class="scroll"><table class="stage-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def markdown(table: StageTable, runs: Sequence[StageTable]) -> str:
    """For docs: the table of the mean over `runs`, and in how many of them each finding agrees."""
    lines = [("", *(column.title for column in table.columns)), ("---",) * (len(table.columns) + 1)]
    benchmark = None
    for label, row, numbers in _lines(table.rows, table.columns):
        if row is not None and (name := row.key.partition("/")[0]) != benchmark:
            benchmark = name
            lines.append((f"**{name}**", *[""] * len(table.columns)))
        lines.append((label, *numbers) if row else (f"*{label}*", *(number and f"*{number}*" for number in numbers)))
    agree = [{found.claim: found.verdict for found in directions(one)} for one in runs]
    findings = [(*HEADINGS[:-1], "runs that agree", HEADINGS[-1]), ("---",) * (len(HEADINGS) + 1)]
    for found in directions(table):
        *start, paper = _finding(found)
        count = sum(verdicts.get(found.claim) == "agrees" for verdicts in agree)
        findings.append((*start, f"{count} of {len(runs)}", paper))
    return "\n\n".join("\n".join(f"| {' | '.join(line)} |" for line in part) for part in (lines, findings))


def has_several(table: StageTable) -> bool:
    """Whether there is more to this run than before and after."""
    return len(table.columns) > 2 and any(column.role for column in table.columns)

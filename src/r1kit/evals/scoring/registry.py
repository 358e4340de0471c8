"""Score a file of recorded outputs by the name of its benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from r1kit.data.store import READERS, DataError, data_suffix, read_rows
from r1kit.errors import UserError
from r1kit.evals.named.harness import read_results
from r1kit.evals.scoring.alpaca_eval import AlpacaEval
from r1kit.evals.scoring.arena_hard import ArenaHard, ArenaJudge
from r1kit.evals.scoring.base import Options, Row, Scorer
from r1kit.evals.scoring.codeforces import Codeforces
from r1kit.evals.scoring.drop import Drop
from r1kit.evals.scoring.gsm8k import Gsm8k
from r1kit.evals.scoring.ifeval import IfEval
from r1kit.evals.scoring.livecodebench import LiveCodeBench
from r1kit.evals.scoring.math500 import Math500
from r1kit.evals.scoring.mmlu_pro import MmluPro
from r1kit.evals.scoring.replay import Replay
from r1kit.evals.scoring.zero_eval import ZeroEval
from r1kit.evals.task import task_names
from r1kit.files import read_json
from r1kit.synonyms import nearest

SCORERS: Mapping[str, Callable[[Options], Scorer]] = {
    "mmlu_pro": MmluPro,
    "zeroeval_gsm": ZeroEval,
    "zeroeval_math": ZeroEval,
    "livecodebench": LiveCodeBench,
    "drop": Drop,
    "gsm8k": Gsm8k,
    "math500": Math500,
    "ifeval": IfEval,
    "codeforces": Codeforces,
    "arena_hard": ArenaHard,
    "arena_judge": ArenaJudge,
    "alpaca_eval": AlpacaEval,
}

OUR_FIELDS = ("prompt_id", "completion")  # of samples.jsonl


class Scores(TypedDict):
    """What `r1kit score --json` prints."""

    benchmark: str
    n: int  # rows; of alpaca_eval, models; 1 for results of a benchmark's own program
    metrics: dict[str, Any]
    agreement: float | None  # share of rows whose recorded verdict is ours; None without --against


def score_files(
    benchmark: str, paths: Sequence[Path], against: str | None = None, problems: Path | None = None
) -> Scores:
    """Score the rows of one or more files of recorded outputs.

    Args:
        benchmark: A key of SCORERS, or for samples that r1kit wrote the name of any benchmark.
        paths: Files with one row per recorded output, or folders of such files; several are read as one. Or the
            results that the program of a benchmark's authors wrote, such as a leaderboard.csv of AlpacaEval.
        against: The field with the recorded verdict.
        problems: A file with the benchmark's problems, for outputs that name them by key.

    Raises:
        UserError: There is no such benchmark.
        DataError: A row lacks a field or has one of the wrong type; the message names file and line.
    """
    if len(paths) == 1 and (results := read_results(benchmark, paths[0])) is not None:
        return {"benchmark": benchmark, "n": 1, "metrics": results, "agreement": None}
    files = list(_files(paths))
    scorer = _scorer(benchmark, files[0], Options(against, problems, near=files[0]))
    for path in files:
        for number, row in enumerate(_rows(path), start=1):
            try:
                scorer.add(row)
            except DataError as error:
                raise DataError(f"{path}, {_place(path, number)}: {error}") from None
    return {"benchmark": benchmark, "n": scorer.n, "metrics": scorer.metrics(), "agreement": scorer.agreement()}


def _scorer(benchmark: str, path: Path, options: Options) -> Scorer:
    """Return the scorer of a benchmark: by its grader for samples that r1kit wrote, else by its own rules."""
    is_task = benchmark.partition(":")[0] in task_names()
    if benchmark not in SCORERS and not is_task:
        names = dict.fromkeys([*SCORERS, *task_names()])
        close = nearest(benchmark, names)
        hint = f"did you mean {close}? " if close else ""
        raise UserError(f"no scorer for {benchmark!r}: {hint}Use one of {', '.join(names)}")
    first = next(iter(_rows(path)), {})
    if is_task and all(name in first for name in OUR_FIELDS):
        return Replay(benchmark, options)
    if benchmark not in SCORERS:
        raise UserError(
            f"{path}: of {benchmark}, only samples.jsonl of r1kit can be scored, which has {', '.join(OUR_FIELDS)}; "
            f"files of other programs can be of {', '.join(SCORERS)}"
        )
    return SCORERS[benchmark](options)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the files, and the data files of folders by name."""
    for path in paths:
        inside = sorted(each for each in path.iterdir() if data_suffix(each) in READERS) if path.is_dir() else []
        yield from inside or [path]


def _rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; a .json file may hold a single object."""
    if path.suffix == ".json" and path.is_file() and isinstance(content := read_json(path), dict):
        return iter([content])
    return read_rows(path)


def _place(path: Path, number: int) -> str:
    """Return where a row stands; in JSON Lines, blank lines are no rows."""
    if data_suffix(path) != ".jsonl":
        return f"row {number}"
    with path.open("rb") as file:
        filled = (line_number for line_number, line in enumerate(file, start=1) if line.strip())
        return f"line {next(line for index, line in enumerate(filled, start=1) if index == number)}"


def score_lines(scores: Scores) -> Iterator[str]:
    """Yield the scores as text for a terminal."""
    yield f"{scores['benchmark']}: {scores['n']} rows"
    yield from _indented(scores["metrics"], "  ")
    if scores["agreement"] is not None:
        yield f"agreement with the recorded verdicts: {100 * scores['agreement']:.2f} %"


def _indented(table: Mapping[str, Any], margin: str) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield f"{margin}{name}"
            yield from _indented(value, f"{margin}  ")
        else:
            yield f"{margin}{name}  {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_text, value)) if len(value) == 2 else ", ".join(map(_text, value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)

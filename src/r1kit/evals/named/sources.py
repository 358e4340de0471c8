"""Read the data of benchmarks: `bench:NAME`, `bench:NAME:VARIANT`, each also with `=FILE`.

Looked for in this order: the given file or folder, `data/bench/NAME.*` in the working directory, the Hugging Face hub.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from r1kit import hub
from r1kit.config import PromptSource
from r1kit.data.problems import hub_rows, load_problems, renamed
from r1kit.data.store import FORMATS, READERS, DataError, data_suffix, file_problem, read_rows
from r1kit.errors import require
from r1kit.evals.named.paper import paper_tasks
from r1kit.evals.task import EXAMPLE_ANSWERS, MissingField, Row, Task, find_task
from r1kit.types import Problem

PREFIX = "bench:"
FOLDER = Path("data/bench")
PAPER = "paper"  # stands for every benchmark of the paper's tables


def task_of(source: PromptSource) -> Task | None:
    """Return the benchmark that a source names; None for other sources. UserError if there is none."""
    return find_task(_parts(source)[0]) if source.source.startswith(PREFIX) else None


def bench_names(given: str) -> list[str]:
    """Return the names of a list such as "aime24,math500"; "paper" stands for all of the paper's tables."""
    names = [name.strip() for name in given.split(",") if name.strip()]
    return list(dict.fromkeys(each for name in names for each in (paper_tasks() if name == PAPER else [name])))


def problems_of(sources: Sequence[PromptSource]) -> list[Problem]:
    """Return the problems of the sources of one benchmark, in order and without duplicates.

    Raises:
        DataError: Data is missing or unusable. The message says what to download, and where to put it.
    """
    problems: dict[str, Problem] = {}
    for source in sources:
        task = task_of(source)
        loaded = load_problems([source]) if task is None else load_task(task, source)
        problems |= {problem.id: problem for problem in loaded if problem.id not in problems}
    return list(problems.values())


def load_task(task: Task, source: PromptSource) -> list[Problem]:
    """Return the problems of a benchmark within the levels and the limit of its source.

    A question that a benchmark asks twice counts twice, as in its published number of problems.
    """
    if task.load is not None:
        return task.load(source.limit)
    problems: list[Problem] = []
    times = Counter[str]()
    for number, row in enumerate(rows_of(task, source), start=1):
        where = f"{source.source}, row {number}"
        try:
            problem = task.problem(renamed(row, source, where))
        except MissingField as error:
            raise DataError(f"{where}: {error.advice(list(row))}") from error
        except (DataError, ValueError, TypeError) as error:
            raise DataError(f"{where}: {error}") from error
        except (LookupError, AttributeError, SyntaxError) as error:  # a field has another form than in the public data
            fault = f"{type(error).__name__}: {error}"
            raise DataError(f"{where}: a field does not have the form of {task.title}'s data ({fault})") from error
        if problem is None or not source.min_level <= problem.level <= source.max_level:
            continue
        times[problem.id] += 1
        problems.append(problem if times[problem.id] == 1 else replace(problem, id=f"{problem.id}-{times[problem.id]}"))
        if len(problems) == source.limit:
            break
    if not problems:
        raise DataError(f"{source.source}: no problem: every row is one that {task.title} leaves out")
    return _after_examples(problems, task)


def _after_examples(problems: list[Problem], task: Task) -> list[Problem]:
    """Return the problems with few-shot examples before their prompts, without those that serve as examples.

    The examples are the problems with the smallest ids, which are hashes: the same in every run.
    """
    if not task.shots:
        return problems
    examples = sorted(problems, key=lambda problem: problem.id)[: task.shots]
    asked = [problem for problem in problems if problem not in examples]
    if not asked:
        raise DataError(f"{task.name}: {task.shots} examples leave no problem of {len(problems)}")
    answer = EXAMPLE_ANSWERS[task.verifier]
    shown = "\n\n".join(f"{each.question}\n\n{answer.format(each.answer)}" for each in examples)
    return [replace(each, prompt=f"# Examples\n\n{shown}\n\n# Your task\n\n{each.prompt}") for each in asked]


def rows_of(task: Task, source: PromptSource) -> Iterator[Row]:
    """Yield the rows of a benchmark from the first place that has them."""
    path = local_data(source)
    if path is not None:
        yield from _local_rows(path)
    elif not task.source:
        raise DataError(missing(task))
    elif task.files:
        for name in task.files:
            yield from read_rows(_download(task, name))
    else:
        yield from _hub_rows(task)


def local_data(source: PromptSource) -> Path | None:
    """Return the file or folder that a source names, or `data/bench/NAME.*`; None without any."""
    name, file = _parts(source)
    if file:
        return Path(file).expanduser()
    base = name.partition(":")[0]
    names = [base, *(f"{base}{suffix}" for suffix in READERS)]
    return next((path for path in (FOLDER / each for each in names) if path.exists()), None)


def data_problem(task: Task, source: PromptSource) -> str | None:
    """Return why the data of a benchmark cannot be read, as far as this is known without the hub; or None."""
    path = local_data(source)
    if path is None:
        return missing(task) if not task.source and task.load is None else None
    problem = None if path.is_dir() and _data_files(path) else file_problem(path)
    return None if problem is None else f"{path}: {problem}"


def missing(task: Task, reason: str = "") -> str:
    """Return the message for data that is not there: what to download, and where to put it."""
    base = task.name.partition(":")[0]
    get = task.where or f"download {task.source} from https://huggingface.co/datasets/{task.source.partition(':')[0]}"
    return (
        f"{task.name}: its data is not here{f' ({reason})' if reason else ''}. To get it, {get}. Then put the file at "
        f"{FOLDER / base}.jsonl ({FORMATS}), or give it: --data {base}=FILE (r1kit score: --problems FILE), in a "
        f'recipe benchmarks.{base} = ["{PREFIX}{base}=FILE"]'
    )


def _parts(source: PromptSource) -> tuple[str, str]:
    """Return the name with its variant, and the file or ""."""
    name, _, file = source.source.removeprefix(PREFIX).partition("=")
    return name, file


def _data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and data_suffix(path) in READERS)


def _local_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, or of all files in a folder, each with its file's name in the field `file`."""
    if not path.is_dir():
        yield from read_rows(path)
        return
    for file in _data_files(path):
        name = file.name.removesuffix(data_suffix(file))
        yield from ({"file": name, **row} for row in read_rows(file))


def _hub_rows(task: Task) -> Iterator[Row]:
    """Yield the rows of a dataset at the hub."""
    names = [task.source]
    try:
        if task.every_config:
            with hub.offline_if_unreachable():
                configs = require("datasets", extra="hub").get_dataset_config_names(task.source)
            names = [f"{task.source}:{config}" for config in configs]
        for name in names:
            for row in hub_rows(PromptSource(source=name, split=task.split)):
                yield {"file": name.partition(":")[2], **row}
    except Exception as error:  # `datasets` raises many types; all of them mean that the source cannot be read
        raise DataError(missing(task, str(error).strip()[:300])) from error


def _download(task: Task, file: str) -> Path:
    """Return a data file of a repository at the hub. DataError if it cannot be downloaded."""
    download = require("huggingface_hub", extra="hub").hf_hub_download
    try:
        with hub.offline_if_unreachable():
            return Path(download(task.source, file, repo_type="dataset"))
    except Exception as error:  # the hub raises many types; all of them mean that the file cannot be read
        reason = f"{type(error).__name__}: {str(error).strip()[:200]}"
        raise DataError(missing(task, reason)) from error

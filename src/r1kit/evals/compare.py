"""`r1kit compare`: two evaluations by benchmark and problem, if their protocols allow it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from r1kit.data.store import DataError, read_rows
from r1kit.errors import UserError
from r1kit.evals.paired import compare
from r1kit.files import read_json
from r1kit.run_dir import RunDir, StageDir

# Keys of the protocol that say what is measured: with other values, a difference is no difference of the models.
MEASURE = ("benchmark", "graded_text", "extraction", "judge")
# Keys that say how it is sampled. `data` differs where the problems do; only those in common are compared.
SAMPLING = (
    *("data", "template", "system_prompt", "prompt_suffix"),
    *("temperature", "top_p", "top_k", "samples", "max_completion_length"),
)

Scores = dict[str, list[float]]  # problem -> score of each graded sample


@dataclass(frozen=True)
class Results:
    """One evaluation, as an evaluate stage or `r1kit eval` writes it."""

    name: str
    scores: dict[str, Scores]  # by benchmark
    protocols: dict[str, Mapping[str, Any]]  # by benchmark; {} for results without one
    file: Path
    """Where the scores come from."""


def read_results(given: str) -> Results:
    """Return the evaluation that a run, one of its evaluate stages, a directory or a results file has.

    Raises:
        UserError: There is none, or there are several to choose from.
    """
    samples = _samples_file(Path(given).expanduser())
    scores: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(read_rows(samples), start=1):
        try:
            if row["correct"] is not None:
                value = row["credit"] if "credit" in row else row["correct"]
                scores[row["benchmark"]][str(row["prompt_id"])].append(float(value))
        except KeyError as error:
            fault = f"the field {error} is missing: the fields are {', '.join(row) or '(none)'}"
            raise DataError(f"{samples}, row {number}: {fault}; it must be a row of r1kit eval") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{samples}, row {number}: {error}; it must be a row of r1kit eval") from error
    results = samples.with_name("results.json")
    summaries = read_json(results).get("benchmarks", {}) if results.is_file() else {}
    protocols = {name: each.get("protocol", {}) for name, each in summaries.items()}
    return Results(given, dict(scores), protocols, samples.resolve())


def _samples_file(path: Path) -> Path:
    """Return the file with every sample."""
    if path.is_file():
        samples = path.with_name("samples.jsonl") if path.name == "results.json" else path
        if not samples.is_file():
            raise UserError(f"{path}: the directory has no samples.jsonl, and a comparison goes by problem")
        return samples
    stage = RunDir(path.parent).stage(path.name)  # RUN/STAGE
    for candidate in (path / "samples.jsonl", StageDir(path).samples, stage.samples):
        if candidate.is_file():
            return candidate
    stages = sorted(RunDir(path).stages.glob("*/data/samples.jsonl"))
    if len(stages) == 1:
        return stages[0]
    if stages:
        names = ", ".join(str(path / each.parent.parent.name) for each in stages)
        raise UserError(f"{path}: several stages have evaluated: name one of {names}")
    raise UserError(
        f"{path}: no results: must be a run with a finished evaluate stage, RUN/STAGE, or the directory or the "
        "samples.jsonl that r1kit eval has written"
    )


def compare_results(a: Results, b: Results, anyway: bool = False) -> dict[str, Any]:
    """Return {"a", "b", "remark", "benchmarks"}: for each benchmark of both the difference, and what differs.

    The remark says that both are one evaluation; it is "" otherwise.

    Args:
        a: The first evaluation; differences are its scores minus those of the second.
        b: The second evaluation.
        anyway: Compare also what was measured in different ways.

    Raises:
        UserError: They have no benchmark or problem in common, or a benchmark was measured in different ways.
    """
    shared = [name for name in a.scores if name in b.scores]
    if not shared:
        names = (", ".join(each.scores) or "none" for each in (a, b))
        raise UserError(f"no benchmark in common: {a.name} has {next(names)}; {b.name} has {next(names)}")
    is_one = a.file == b.file
    remark = f"warning: A and B are one evaluation, {a.file}: every difference is 0" if is_one else ""
    compared = {name: _compared(name, a, b, anyway) for name in shared}
    return {"a": a.name, "b": b.name, "remark": remark, "benchmarks": compared}


def _compared(name: str, a: Results, b: Results, anyway: bool) -> dict[str, Any]:
    protocols = a.protocols.get(name, {}), b.protocols.get(name, {})
    refused = _differences(*protocols, MEASURE) if all(protocols) else []
    if refused and not anyway:
        raise UserError(
            f"{name}: the two were measured in different ways, so their difference says nothing about the models: "
            f"{'; '.join(refused)}. Evaluate one of them again, or give --anyway"
        )
    differs = [
        *refused,
        *(_differences(*protocols, SAMPLING) if all(protocols) else ["protocol: not recorded for one of them"]),
    ]
    ours, theirs = a.scores[name], b.scores[name]
    problems = [problem for problem in ours if problem in theirs]
    if not problems:
        raise UserError(f"{name}: no problem in common: the two were evaluated on other data")
    pairs = [(ours[problem], theirs[problem]) for problem in problems]
    is_binary = all(len(scores) == 1 and scores[0] in (0, 1) for pair in pairs for scores in pair)
    result = compare([fmean(x) for x, _ in pairs], [fmean(y) for _, y in pairs], binary=is_binary)
    left_out = [len(scores) - len(problems) for scores in (ours, theirs)]
    return {**asdict(result), "ci95": list(result.ci95), "left_out": left_out, "differs": differs}


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    """Return the keys with different values, and the values."""
    return [f"{key}: {one.get(key)!r} and {other.get(key)!r}" for key in keys if one.get(key) != other.get(key)]

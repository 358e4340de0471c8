"""Evaluate or sample from one model outside a run."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import ValidationError

from r1kit import errors, machine
from r1kit.config import Evaluate, Prompting, PromptSource, Sampling, Template
from r1kit.console import say
from r1kit.files import read_json
from r1kit.hashing import canonical_json, fingerprint
from r1kit.machine import DeviceSetting
from r1kit.model.reference import resolve_model

if TYPE_CHECKING:
    from r1kit.rewards.judge.endpoint import Endpoint
    from r1kit.rollout.sample import Piece

MAX_CONCURRENT = 512  # the default of recipes
RESULTS = "results.json"


def evaluate(
    model: str,
    benchmarks: Mapping[str, Sequence[PromptSource | str | dict[str, Any]]] | None = None,
    *,
    seed: int = 0,
    device: DeviceSetting = "auto",
    max_concurrent: int = MAX_CONCURRENT,
    out: Path | None = None,
    endpoint: Endpoint | None = None,
    judge: Endpoint | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Evaluate a model on benchmarks. Returns {"model": name, "identity": hash, "benchmarks": {name: summary}}.

    The identity is that of the weights, the settings, the seed and the local files with data.

    Args:
        model: A bundled model, a directory, a stage of a run or a hub id; with an endpoint, a name for the results.
        benchmarks: Name -> prompt sources; by default the held-out problems of every world.
        seed: The seed of sampling.
        device: "auto", "cpu" or "cuda".
        max_concurrent: Sequences generated at the same time.
        out: A directory for results.json and samples.jsonl, as an evaluate stage writes them; none by default. If the
            evaluation is interrupted, the same call continues after the last block of completions in it. If it is
            finished, its results are returned.
        endpoint: Where the model answers; by default it is loaded here.
        judge: The model that grades where no rule can.
        settings: Keys of an evaluate stage. Modules of `rewards` may lie in the working directory.

    Raises:
        UserError: A setting is invalid, the model does not exist, or `out` has the results of another evaluation.
    """
    benchmarks = benchmarks or benchmarks_from(world_sources())
    try:
        config = Evaluate.model_validate({"kind": "evaluate", "model": model, "benchmarks": benchmarks, **settings})
    except ValidationError as error:
        raise errors.UserError(_lines(error)) from None
    if judge is not None and out is not None:
        judge = replace(judge, cache=str(out / "judge"))
    if config.rewards or judge or config.environment:
        _configure_own(config, judge)
    source: Path | Endpoint = resolve_model(model) if endpoint is None else endpoint
    compute = machine.choose_compute(device)
    measured = fingerprint(source) if isinstance(source, Path) else source.base_url
    files = [fingerprint(path) for path in _data_files(config)]
    keys = config.model_dump(exclude=set() if config.environment else {"environment"})  # which came later
    identity = _hash([measured, judge and judge.model, keys, seed, files])
    if out is not None and (finished := _finished(out, identity)) is not None:
        say(f"{out}: this evaluation is finished; delete {RESULTS} in it to measure again")
        return finished
    saved = None if out is None else out / "unfinished" / identity
    if saved is not None and endpoint is not None:
        source = replace(endpoint, cache=str(saved / "requests"))
    from r1kit.evals.benchmark import evaluate_model

    evaluation = evaluate_model(source, config, seed, compute.device, compute.dtype, max_concurrent, None, 1, saved)
    if out is not None and saved is not None:
        evaluation.publish(model, out, identity=identity)
        shutil.rmtree(saved.parent, ignore_errors=True)
    return {"model": model, "identity": identity, "benchmarks": evaluation.benchmarks}


def _configure_own(config: Evaluate, judge: Endpoint | None) -> None:
    """Set the judge and the folder of the user's own rewards and environment. UserError if one does not exist."""
    from r1kit.environments.named import environment_named
    from r1kit.rewards import score, services

    services.configure(services.Settings(folder=str(Path.cwd()), judge=judge))
    score.check_reward_names(dict.fromkeys(config.rewards, 1.0), Path.cwd())
    if config.environment:
        environment_named(config.environment, Path.cwd())


def _hash(settings: list[Any]) -> str:
    return hashlib.sha256(canonical_json(settings)).hexdigest()[:16]


def _data_files(config: Evaluate) -> Iterator[Path]:
    """Yield the local files and folders with the data of the benchmarks."""
    from r1kit.evals.named.sources import PREFIX, local_data

    for source in (source for sources in config.benchmarks.values() for source in sources):
        is_named = source.source.startswith(PREFIX)
        path = local_data(source) if is_named else Path(source.source).expanduser()
        if path is not None and path.exists():
            yield path


def _finished(out: Path, identity: str) -> dict[str, Any] | None:
    """Return the results in a directory; None without any. UserError if they are those of another evaluation."""
    if not (out / RESULTS).is_file():
        return None
    results: dict[str, Any] = read_json(out / RESULTS)
    if results.get("identity") != identity:
        names = ", ".join(results.get("benchmarks", {}))
        raise errors.UserError(
            f"{out}: has the results of another evaluation ({results.get('model')} on {names}; its settings, seed or "
            "data may differ): give another --out, or delete them"
        )
    return results


def sample(model: str, question: str, *, n: int = 1, **settings: Any) -> Iterator[str]:
    """Yield `n` completions of one question piece by piece, as they are generated, with a blank line between them.

    Args:
        model: A bundled model, a directory, a stage of a run or a hub id.
        question: The question.
        n: The number of completions.
        settings: Keys of `stream`.

    Raises:
        UserError: A setting is invalid, or the model does not exist.
    """
    return _text(stream(model, [question], n=n, **settings))


def _text(pieces: Iterable[Piece]) -> Iterator[str]:
    current = 0
    for piece in pieces:
        if piece.sample != current:
            current = piece.sample
            yield "\n\n"
        yield piece.text


def stream(
    model: str,
    questions: Sequence[str],
    *,
    n: int = 1,
    template: str = "r1-zero",
    system_prompt: str = "",
    prompt_suffix: str = "",
    temperature: float = 0.6,
    top_p: float = 0.95,
    stop: Sequence[str] = (),
    max_completion_length: int = 512,
    seed: int = 0,
) -> Iterator[Piece]:
    """Yield `n` completions of every question in pieces, as they are generated.

    The arguments are keys of an evaluate stage.

    Raises:
        UserError: A setting is invalid, or the model does not exist.
    """
    if template not in get_args(Template):
        raise errors.UserError(f"template = {template!r}: must be one of {', '.join(get_args(Template))}")
    try:
        sampling = Sampling(temperature=temperature, top_p=top_p, stop=[*stop])
        style = Prompting(template=cast(Template, template), system_prompt=system_prompt, prompt_suffix=prompt_suffix)
    except ValidationError as error:
        raise errors.UserError(_lines(error)) from None
    directory = resolve_model(model)
    compute = machine.choose_compute()
    from r1kit.rollout.sample import stream_samples

    return stream_samples(
        directory, questions, style, sampling, n, max_completion_length, seed, compute.device, compute.dtype
    )


def transcript(pieces: Iterable[Piece], questions: Sequence[str], n: int) -> Iterator[str]:
    """Yield the pieces as text for a terminal: questions and completions are numbered where there are several."""
    current = (0, -1)
    for piece in pieces:
        number, index = place = piece.question, piece.sample
        if place != current:
            yield "" if current == (0, -1) else "\n\n"
            if len(questions) > 1 and index == 0:
                yield f"Question {number + 1} of {len(questions)}: {questions[number]}\n"
            if n > 1:
                yield f"Answer {index + 1} of {n}:\n"
            current = place
        yield piece.text


def collect(pieces: Iterable[Piece], model: str, questions: Sequence[str]) -> dict[str, Any]:
    """Return {"model": name, "questions": [{"question": text, "answers": [text, ...]}, ...]}."""
    answers: list[list[str]] = [[] for _ in questions]
    for piece in pieces:
        texts = answers[piece.question]
        texts += [""] * (piece.sample + 1 - len(texts))
        texts[piece.sample] += piece.text
    rows = [{"question": question, "answers": texts} for question, texts in zip(questions, answers, strict=True)]
    return {"model": model, "questions": rows}


def read_questions(path: Path) -> list[str]:
    """Return the questions of a file: the problems of a data file, as in recipes, or else one question per line.

    Raises:
        UserError: The file holds no question, or is not a text in UTF-8.
    """
    from r1kit.data.problems import load_problems
    from r1kit.data.store import READERS, data_suffix

    if data_suffix(path) in READERS:
        return [problem.question for problem in load_problems([PromptSource(source=str(path))], answered=False)]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise errors.UserError(f"{path}: not a text in UTF-8: {error}") from None
    questions = [line.strip() for line in lines if line.strip()]
    if not questions:
        raise errors.UserError(f"{path}: no question: write one per line, or give a data file as in recipes")
    return questions


def world_sources() -> list[str]:
    """Return every world as a prompt source."""
    from r1kit.data.worlds import FAMILIES

    return [f"world:{name}" for name in FAMILIES]


def named_benchmarks(
    given: str, data: Sequence[str] = (), fields: Sequence[str] = (), limit: int | None = None
) -> dict[str, list[PromptSource]]:
    """Return benchmarks by name: "aime24,drop:0-shot" or "paper".

    Args:
        given: Names with commas between them.
        data: NAME=FILE, the data of a benchmark.
        fields: OURS=THEIRS, the names of columns in these files.
        limit: Problems per benchmark; all by default.

    Raises:
        UserError: There is no such benchmark, or an argument has another form.
    """
    from r1kit.evals.named.sources import PREFIX, bench_names
    from r1kit.evals.task import find_task

    files, columns = _pairs("--data", "NAME=FILE", data), _pairs("--field", "OURS=THEIRS", fields)
    names = bench_names(given)
    if not names:
        raise errors.UserError("--bench is empty: name benchmarks, with commas between them, of `r1kit benchmarks`")
    bases = {find_task(name).name: name.partition(":")[0] for name in names}
    if unused := [name for name in files if name not in (*names, *bases.values())]:
        raise errors.UserError(f"--data {unused[0]}=...: --bench does not name {unused[0]}")
    given_files = {name: files.get(name) or files.get(base) for name, base in bases.items()}
    renamed = [name for name in bases if given_files[name] or len(bases) == 1]
    if columns and not renamed:
        raise errors.UserError(f"--field {fields[0]}: give also --data NAME=FILE, the file whose columns are renamed")
    benchmarks = {}
    for name, file in given_files.items():
        source = f"{PREFIX}{name}={file}" if file else f"{PREFIX}{name}"
        benchmarks[name] = [PromptSource(source=source, fields=columns if name in renamed else {}, limit=limit)]
    return benchmarks


def _pairs(option: str, form: str, given: Sequence[str]) -> dict[str, str]:
    """Return the two sides of each A=B."""
    pairs = {}
    for text in given:
        key, sign, other = text.partition("=")
        if not (key and sign and other):
            raise errors.UserError(f"{option} {text}: must be {form}")
        pairs[key] = other
    return pairs


def benchmarks_from(
    sources: Sequence[str], split: str | None = None, limit: int | None = None
) -> dict[str, list[PromptSource]]:
    """Return one benchmark for each source, named by the end of its path that no other source has.

    Args:
        sources: Prompt sources.
        split: The split to use; "held_out" for worlds and environments, "test" for other sources by default.
        limit: Problems per source; all by default.
    """
    benchmarks: dict[str, list[PromptSource]] = {}
    names = {source: _names(source) for source in sources}
    for source in names:
        taken = {name for other in names if other != source for name in names[other]}
        name = next((name for name in names[source] if name not in taken), source)
        chosen = split or ("held_out" if PromptSource(source=source).has_held_out else "test")
        benchmarks[name] = [PromptSource(source=source, split=chosen, limit=limit)]
    return benchmarks


def _names(source: str) -> list[str]:
    """Return names for a source, the shortest first: a/b/test.jsonl is test, b/test or a/b/test."""
    if PromptSource(source=source).has_held_out:
        return [source.partition(":")[2], source]
    path, _, config = source.partition(":")  # a hub dataset may end with its configuration
    parts = [*Path(path).parts[:-1], Path(path).stem]
    ends = ["/".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
    return [*ends, *([f"{ends[0]}:{config}"] if config else [])]


def _lines(error: ValidationError) -> str:
    """Return one line for each mistake. Those about several settings begin with their names."""
    lines = []
    for each in error.errors():
        at, message = ".".join(map(str, each["loc"])), errors.requirement(each["msg"])
        lines.append(f"{at} = {each['input']!r}: {message}" if at else message)
    return "\n".join(lines)

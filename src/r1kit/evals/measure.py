"""One model outside any pipeline: measure it, or ask it something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from r1kit import errors, machine
from r1kit.config import Evaluate, PromptSource, Sampling, Template
from r1kit.model.reference import resolve_model

MAX_CONCURRENT = 512  # a recipe's default


def evaluate(
    model: str,
    benchmarks: Mapping[str, Sequence[PromptSource | str | dict[str, Any]]] | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    max_concurrent: int = MAX_CONCURRENT,
    **settings: Any,
) -> dict[str, Any]:
    """{"model", "benchmarks": {name: summary}} of a bundled model, directory, run's stage or hub id.

    `benchmarks` defaults to the held-out problems of every world; `settings` are the keys of an evaluate stage.
    """
    benchmarks = benchmarks or benchmarks_from(world_sources())
    try:
        config = Evaluate.model_validate({"kind": "evaluate", "model": model, "benchmarks": benchmarks, **settings})
    except ValidationError as error:
        raise errors.UserError(_lines(error)) from None
    directory = resolve_model(model)
    where = machine.choose_device(device)
    from r1kit.evals.runner import evaluate_model

    found = evaluate_model(directory, config, seed, where, machine.choose_dtype(where), max_concurrent)
    return {"model": model, "benchmarks": found.benchmarks}


def sample(
    model: str,
    question: str,
    *,
    n: int = 1,
    template: str = "r1-zero",
    temperature: float = 0.6,
    top_p: float = 0.95,
    max_completion_length: int = 512,
    seed: int = 0,
) -> Iterator[str]:
    """The answers to one question, piece by piece as they are written."""
    if template not in get_args(Template):
        raise errors.UserError(f"template {template!r}: choose one of {', '.join(get_args(Template))}")
    try:
        sampling = Sampling(temperature=temperature, top_p=top_p)
    except ValidationError as error:
        raise errors.UserError(_lines(error)) from None
    directory = resolve_model(model)
    device = machine.choose_device()
    from r1kit.rollout.ask import stream_samples

    dtype = machine.choose_dtype(device)
    return stream_samples(directory, question, template, sampling, n, max_completion_length, seed, device, dtype)


def world_sources() -> list[str]:
    """Every world there is, as prompt sources."""
    from r1kit.data.worlds import FAMILIES

    return [f"world:{name}" for name in FAMILIES]


def benchmarks_from(
    sources: Sequence[str], split: str | None = None, limit: int | None = None
) -> dict[str, list[PromptSource]]:
    """One benchmark a source, named after it. Without `split`, what the source holds out."""
    found: dict[str, list[PromptSource]] = {}
    for source in sources:
        is_world = source.startswith(("world:", "reasoning_gym:"))
        name = source.partition(":")[2] if is_world else Path(source.partition(":")[0]).stem
        part = split or ("held_out" if is_world else "test")
        found.setdefault(name, []).append(PromptSource(source=source, split=part, limit=limit))
    return found


def _lines(error: ValidationError) -> str:
    return "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['input']!r} given; {e['msg']}" for e in error.errors())

"""Evaluate or sample from one model outside a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import ValidationError

from r1kit import errors, machine
from r1kit.config import Evaluate, PromptSource, Sampling, Template
from r1kit.machine import DeviceSetting
from r1kit.model.reference import resolve_model

MAX_CONCURRENT = 512  # the default of recipes


def evaluate(
    model: str,
    benchmarks: Mapping[str, Sequence[PromptSource | str | dict[str, Any]]] | None = None,
    *,
    seed: int = 0,
    device: DeviceSetting = "auto",
    max_concurrent: int = MAX_CONCURRENT,
    **settings: Any,
) -> dict[str, Any]:
    """Evaluate a model on benchmarks. Returns {"model": name, "benchmarks": {name: summary}}.

    Args:
        model: A bundled model, a directory, a stage of a run or a hub id.
        benchmarks: Name -> prompt sources; by default the held-out problems of every world.
        seed: The seed of sampling.
        device: "auto", "cpu" or "cuda".
        max_concurrent: Sequences generated at the same time.
        settings: Keys of an evaluate stage.

    Raises:
        UserError: A setting is invalid, or the model does not exist.
    """
    benchmarks = benchmarks or benchmarks_from(world_sources())
    try:
        config = Evaluate.model_validate({"kind": "evaluate", "model": model, "benchmarks": benchmarks, **settings})
    except ValidationError as error:
        raise errors.UserError(_lines(error)) from None
    directory = resolve_model(model)
    compute = machine.choose_compute(device)
    from r1kit.evals.benchmark import evaluate_model

    evaluation = evaluate_model(directory, config, seed, compute.device, compute.dtype, max_concurrent)
    return {"model": model, "benchmarks": evaluation.benchmarks}


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
    """Yield `n` completions of one question piece by piece, as they are generated.

    Raises:
        UserError: A setting is invalid, or the model does not exist.
    """
    if template not in get_args(Template):
        raise errors.UserError(f"template = {template!r}: must be one of {', '.join(get_args(Template))}")
    try:
        sampling = Sampling(temperature=temperature, top_p=top_p)
    except ValidationError as error:
        raise errors.UserError(_lines(error)) from None
    directory = resolve_model(model)
    compute = machine.choose_compute()
    from r1kit.rollout.sample import stream_samples

    name = cast(Template, template)
    return stream_samples(
        directory, question, name, sampling, n, max_completion_length, seed, compute.device, compute.dtype
    )


def world_sources() -> list[str]:
    """Return every world as a prompt source."""
    from r1kit.data.worlds import FAMILIES

    return [f"world:{name}" for name in FAMILIES]


def benchmarks_from(
    sources: Sequence[str], split: str | None = None, limit: int | None = None
) -> dict[str, list[PromptSource]]:
    """Return one benchmark for each source, named after it.

    Args:
        sources: Prompt sources.
        split: The split to use; "held_out" for worlds and "test" for other sources by default.
        limit: Problems per source; all by default.
    """
    benchmarks: dict[str, list[PromptSource]] = {}
    for source in sources:
        is_world = source.startswith(("world:", "reasoning_gym:"))
        name = source.partition(":")[2] if is_world else Path(source.partition(":")[0]).stem
        chosen = split or ("held_out" if is_world else "test")
        benchmarks.setdefault(name, []).append(PromptSource(source=source, split=chosen, limit=limit))
    return benchmarks


def _lines(error: ValidationError) -> str:
    return "\n".join(f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors())

"""What an evaluate stage samples: benchmarks by name have their own number of samples and their own cap."""

from __future__ import annotations

from r1kit.config import Evaluate, PromptSource
from r1kit.evals.named.sources import task_of
from r1kit.evals.task import measured_as


def with_largest_benchmark(stage: Evaluate) -> Evaluate:
    """Return the stage with the most samples and the longest completions of its benchmarks, to size its memory."""
    settings = _settings(stage).values()
    most = {key: max(getattr(own, key) for own in settings) for key in ("samples", "max_completion_length")}
    return stage.model_copy(update=most)


def benchmark_counts(stage: Evaluate) -> dict[str, int]:
    """Return the counts of a stage, with its completions if the sizes of all its benchmarks are known."""
    settings = _settings(stage)
    counts = {"samples_per_problem": max(own.samples for own in settings.values())}
    sizes = {name: sum(map(_size, sources)) for name, sources in stage.benchmarks.items()}
    if all(_size(source) for sources in stage.benchmarks.values() for source in sources):
        counts["completions"] = sum(own.samples * sizes[name] for name, own in settings.items())
    return counts


def describe_benchmarks(stage: Evaluate) -> str:
    """Return `benchmark_counts` as text: "64 samples per problem of aime24, 4 of mmlu and drop; 71,872 completions"."""
    by_samples: dict[int, list[str]] = {}
    for name, own in _settings(stage).items():
        by_samples.setdefault(own.samples, []).append(name)
    first, *rest = (f"{samples} samples per problem of {' and '.join(names)}" for samples, names in by_samples.items())
    if not rest:
        first = f"{next(iter(by_samples))} samples per problem"
    text = ", ".join([first, *(each.replace(" samples per problem", "") for each in rest)])
    completions = benchmark_counts(stage).get("completions")
    return text if completions is None else f"{text}; {completions:,} completions"


def _settings(stage: Evaluate) -> dict[str, Evaluate]:
    """Return name -> the stage as it measures this benchmark."""
    return {name: measured_as(stage, task_of(sources[0])) for name, sources in stage.benchmarks.items()}


def _size(source: PromptSource) -> int:
    """Return the problems of a source that names a benchmark; 0 if they are not known."""
    task = task_of(source)
    return 0 if task is None else min(task.n, source.limit or task.n)

"""The stages of a recipe as they will run: batch sizes, memory, disk space, and what this machine cannot hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from r1kit import machine
from r1kit.config import RL, Evaluate, Pretrain, PromptSource, Published, Recipe, StageConfig, Supervised, Training
from r1kit.errors import UserError
from r1kit.learn.world import launched_processes, launched_rank
from r1kit.model.config import ModelConfig
from r1kit.model.hf_config import read_config
from r1kit.model.reference import cached_model, local_model
from r1kit.plan.benchmarks import benchmark_counts, describe_benchmarks, with_largest_benchmark
from r1kit.plan.fit import Limits, too_large, warning_of_cache, warning_of_peak
from r1kit.plan.known_shapes import known_shape
from r1kit.plan.memory import Setting, checkpoint_bytes, fitting_tokens, memory

# On the disk at a time: those that learn/checkpoint.py keeps, and one that is being written. `best_metric` adds one.
CHECKPOINTS = 3


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage as it will run."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    """The model and the data."""
    counts: Mapping[str, int]
    """Batch sizes and totals: steps, completions per step, ..."""
    parameters: int | None
    """Of the model; None if its shape is unknown."""
    memory: Mapping[str, int]
    """Bytes by part, "peak" last; empty if the shape is unknown."""
    description: str = ""
    """`counts` as text."""
    disk: int = 0
    """Bytes of its checkpoints and of the model it publishes."""
    kv_cache_tokens: int | None = None
    """Tokens that its KV cache may hold; None for any number."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe as it will run."""

    name: str
    seed: int
    stages: tuple[StagePlan, ...]
    warnings: tuple[str, ...] = field(default=())
    errors: Mapping[str, str] = field(default_factory=dict)
    """Name of a stage that cannot fit in memory -> the reason."""

    def warnings_of(self, stages: Collection[str]) -> list[str]:
        """Return the warnings about these stages."""
        return [text for text in self.warnings if text.removeprefix("stage.").partition(":")[0] in stages]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON-compatible data, without descriptions."""
        data = asdict(self)
        for stage in data["stages"]:
            del stage["description"], stage["kv_cache_tokens"]
        return data


@dataclass(frozen=True, slots=True)
class SizedStage:
    """A stage with the shape of its model."""

    name: str
    given: StageConfig
    stage: StageConfig
    """As `given`; an evaluate stage with its largest benchmark."""
    shape: ModelConfig | None
    """None if it is unknown, or the stage has no model."""
    reward_parameters: int
    """Of all its reward models."""


def sized_stages(recipe: Recipe) -> Iterator[SizedStage]:
    """Yield the stages in order. Reads no file except config.json of local models."""
    shapes: dict[str, ModelConfig | None] = {}  # by earlier stage
    for name, given in recipe.stage.items():
        stage = with_largest_benchmark(given) if isinstance(given, Evaluate) else given
        shape = _stage_shape(stage, shapes)
        if shape is not None and isinstance(stage, Supervised):
            shape = shape.with_context(stage.context_length)
        shapes[name] = shape
        read = stage.models_read(recipe.stage)
        if isinstance(stage, RL) and stage.critic is not None and stage.critic.model:
            read.remove(stage.critic.model)  # counted as the critic
        scorers = [shapes.get(model) for model in read if model != stage.model]
        scoring = sum(scorer.parameter_count() for scorer in scorers if scorer is not None)
        yield SizedStage(name, given, stage, shape, scoring)


def make_plan(recipe: Recipe) -> Plan:
    """Plan a checked recipe for this machine. Reads no file except config.json of local models."""
    device = machine.planned_device(recipe.device)
    processes, here = launched_processes() if launched_rank() is not None else (recipe.processes,) * 2
    dtype, limits = machine.choose_dtype(device, recipe.dtype), Limits.of(device, here)
    stages, warnings, errors = [], [], {}
    for sized in sized_stages(recipe):
        name, given, stage, shape = sized.name, sized.given, sized.stage, sized.shape
        setting = Setting(
            device,
            dtype,
            recipe.max_concurrent,
            sized.reward_parameters,
            recipe.kv_cache_tokens,
            vllm=recipe.engine == "vllm",
        )
        if isinstance(stage, Training):
            setting = replace(setting, processes=processes)
        if shape is not None and recipe.kv_cache_tokens is None:
            setting = replace(setting, kv_cache_tokens=fitting_tokens(stage, shape, setting, limits.on_device))
        planned = _plan_stage(name, stage, shape, setting)
        if isinstance(given, Evaluate):
            planned = replace(planned, counts=benchmark_counts(given), description=describe_benchmarks(given))
        stages.append(planned)
        texts = [*_warnings(stage, shape), *_selection_bias(name, recipe.stage)]
        warnings += [f"stage.{name}: {text}" for text in texts]
        if shape is None:
            continue
        if reason := too_large(stage, shape, setting, limits):
            errors[name] = f"stage.{name}.{reason}"
            continue
        of_memory = warning_of_peak(planned.memory, limits), warning_of_cache(stage, shape, setting)
        warnings += [f"stage.{name}: {text}" for text in of_memory if text]
    return Plan(recipe.name, recipe.seed, tuple(stages), tuple(warnings), errors)


def _stage_shape(stage: StageConfig, earlier: Mapping[str, ModelConfig | None]) -> ModelConfig | None:
    if isinstance(stage, Pretrain) and stage.architecture is not None and stage.vocab_size is not None:
        return ModelConfig.from_architecture(stage.architecture, stage.vocab_size, stage.context_length)
    if stage.model is None:
        return None
    if stage.model in earlier:
        return earlier[stage.model]
    if (directory := local_model(stage.model) or cached_model(stage.model)) is not None:
        return read_shape(directory)
    return known_shape(stage.model)


def read_shape(directory: Path) -> ModelConfig | None:
    """Return the shape in a checkpoint's config.json; None if r1kit's decoder does not support it."""
    try:
        return read_config(directory)
    except UserError:
        return None


def _plan_stage(name: str, stage: StageConfig, shape: ModelConfig | None, setting: Setting) -> StagePlan:
    inputs, counts, text = tuple(stage.inputs()), stage.counts(), stage.describe()
    if shape is None:
        return StagePlan(name, stage.kind, inputs, counts, None, {}, text, 0, setting.kv_cache_tokens)
    parts, parameters = memory(stage, shape, setting), shape.parameter_count()
    published = parameters * setting.bytes_each if isinstance(stage, Training) else 0
    has_best = isinstance(stage, Published) and stage.best_metric is not None
    disk = (CHECKPOINTS + has_best) * checkpoint_bytes(stage, shape, setting) + published
    return StagePlan(name, stage.kind, inputs, counts, parameters, parts, text, disk, setting.kv_cache_tokens)


def _warnings(stage: StageConfig, shape: ModelConfig | None) -> list[str]:
    warnings = stage.warnings()
    if (longest := stage.longest_text()) is None:
        return warnings
    key, tokens = longest
    if shape is None:
        warnings.append(f"the shape of {stage.model} is unknown, so memory is not estimated")
    elif tokens > shape.max_position_embeddings:
        warnings.append(f"{key} = {tokens} is more than the model's {shape.max_position_embeddings} positions")
    return warnings


def _selection_bias(name: str, stages: Mapping[str, StageConfig]) -> Iterator[str]:
    """Yield a warning for each evaluate stage whose problems chose the model that it measures."""
    stage = stages[name]
    if not isinstance(stage, RL) or stage.best_metric is None:
        return
    choosing = {(source.source, source.split) for source in _benchmark(stage.best_metric, stage)}
    for other_name, other in stages.items():
        problems = {(source.source, source.split) for at, source in other.sources() if at[0] == "benchmarks"}
        if isinstance(other, Evaluate) and name in _lineage(other, stages) and not choosing.isdisjoint(problems):
            yield (
                f"best_metric = {stage.best_metric} chooses the model by problems that {other_name} measures it with, "
                "so its score there is too high: choose or measure with other problems"
            )


def _benchmark(metric: str, stage: RL) -> Sequence[PromptSource]:
    """Return the sources of the benchmark that a metric `eval/NAME/KEY` is of."""
    return next((group for name, group in stage.benchmarks.items() if metric.startswith(f"eval/{name}/")), [])


def _lineage(stage: StageConfig, stages: Mapping[str, StageConfig]) -> Iterator[str]:
    """Yield the stages that the model of a stage was trained in."""
    while (model := stage.model) is not None and model in stages:
        yield model
        stage = stages[model]

"""What a recipe is about to do: stages, batch sizes and memory, computed without torch.

Memory in bytes, with N parameters, b bytes per number of the run's dtype (2 or 4) and t tokens per micro-batch:

    weights       N * b, plus N * 4 for the fp32 master copy if b is 2
    gradients     N * 4
    optimizer     N * 8                                              (AdamW's two moments, fp32)
    reference     N * b with a KL penalty
    kv cache      2 * layers * kv_heads * head_dim * b * concurrent * (prompt + completion cap)
    activations   t * layers * (6 width + 2 (heads + kv_heads) head_dim + 4 intermediate) * b
                  (sft and preference keep layers * width and one layer of that when it would outweigh the model)
    logits        3 * 64 MiB (chunks of 2^24 floats: forward, softmax, gradient)
    completions   (700 + 68 * completion cap) * completions per rollout, in main memory: token ids, log-probabilities,
                  text and score as Python objects (the cap is the worst case)

Generation and training alternate, so the peak is the fixed part plus the larger of the two, plus the completions where
the model is in main memory too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from r1kit import machine
from r1kit.config import MemoryUse, Pretrain, Recipe, StageConfig, Supervised
from r1kit.config.stage import PROMPT_TOKENS
from r1kit.errors import UserError
from r1kit.model.config import ModelConfig
from r1kit.model.hf_config import read_config
from r1kit.model.known_shapes import known_shape
from r1kit.model.reference import cached_model, local_model

COMPLETION_BYTES, COMPLETION_TOKEN_BYTES = 700, 68
FEWEST_TOKENS = 16  # per completion, where the memory is counted that a rollout needs in any case
LARGEST_MEMORY = 10**13  # bytes; more than any machine has for one process
TYPICAL_SIZES = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 32, "vocab_size": 50_000}
LOGITS_BYTES = 3 * 64 << 20
CPU_PARAMETERS = 100e6  # with dtype and device "auto", smaller models are assumed to run on a CPU
BYTES = {"float32": 4, "bfloat16": 2}


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
        """Return the plan as JSON-compatible data, without the descriptions."""
        data = asdict(self)
        for stage in data["stages"]:
            del stage["description"]
        return data


def plan(recipe: Recipe) -> Plan:
    """Plan a checked recipe. Reads no file except config.json of local models."""
    shapes: dict[str, ModelConfig | None] = {}  # by earlier stage
    stages, warnings, errors = [], [], {}
    for name, stage in recipe.stage.items():
        shape = _stage_shape(stage, shapes)
        if shape is not None and isinstance(stage, Supervised):
            shape = shape.with_context(stage.context_length)
        shapes[name] = shape
        on_cpu = recipe.device == "cpu" or (shape is not None and shape.parameter_count() < CPU_PARAMETERS)
        stages.append(_plan_stage(recipe, name, stage, shape, on_cpu))
        warnings += [f"stage.{name}: {text}" for text in _warnings(stage, shape)]
        if reason := _too_large(stage, stages[-1], shape, on_cpu):
            errors[name] = f"stage.{name}.{reason}"
        elif on_cpu and stages[-1].memory.get("peak", 0) > _main_memory():
            warnings.append(
                f"stage.{name}: needs up to {show_bytes(stages[-1].memory['peak'])} if all completions are as long as "
                f"allowed; this machine has {show_bytes(_main_memory())}"
            )
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


def _plan_stage(recipe: Recipe, name: str, stage: StageConfig, shape: ModelConfig | None, on_cpu: bool) -> StagePlan:
    dtype = machine.choose_dtype("cpu" if on_cpu else "cuda", recipe.dtype)
    memory: dict[str, int] = {}
    if shape is not None:
        memory = _memory(stage.memory_use(), shape, BYTES[dtype], recipe.max_concurrent, on_cpu)
    parameters = None if shape is None else shape.parameter_count()
    return StagePlan(name, stage.kind, tuple(stage.inputs()), stage.counts(), parameters, memory, stage.describe())


def _memory(use: MemoryUse, shape: ModelConfig, bytes_each: int, max_concurrent: int, on_cpu: bool) -> dict[str, int]:
    """Return the bytes by part of a stage, with the peak last."""
    n = shape.parameter_count()
    memory = {"weights": n * bytes_each}
    if use.trained_tokens:
        memory = {
            "weights": n * (bytes_each if bytes_each == 4 else bytes_each + 4),
            "gradients": n * 4,
            "optimizer": n * 8,
            "reference": n * bytes_each if use.has_reference else 0,
            "activations": _activation_bytes(use, shape, bytes_each),
            "logits": LOGITS_BYTES,
        }
    if use.completions != 0:
        concurrent = max_concurrent if use.completions is None else min(max_concurrent, use.completions)
        memory["kv_cache"] = _kv_bytes(shape, bytes_each) * concurrent * (PROMPT_TOKENS + use.completion_tokens)
    fixed = sum(memory.get(part, 0) for part in ("weights", "optimizer", "reference"))
    training = sum(memory.get(part, 0) for part in ("gradients", "activations", "logits"))
    if use.completions:
        memory["completions"] = use.completions * _completion_bytes(use.completion_tokens)
    peak = fixed + max(training, memory.get("kv_cache", 0))
    memory["peak"] = peak + memory.get("completions", 0) * on_cpu
    return memory


def _completion_bytes(tokens: int) -> int:
    return COMPLETION_BYTES + COMPLETION_TOKEN_BYTES * tokens


def _activation_bytes(use: MemoryUse, shape: ModelConfig, bytes_each: int) -> int:
    everything = shape.activation_bytes(use.trained_tokens, bytes_each)
    if not use.recomputes or not shape.should_recompute(use.trained_tokens, bytes_each):
        return everything
    inputs = use.trained_tokens * shape.num_hidden_layers * shape.hidden_size * bytes_each
    return inputs + everything // shape.num_hidden_layers  # the inputs of all blocks, and the inside of one


def _kv_bytes(shape: ModelConfig, bytes_each: int) -> int:
    """Per token: a key and a value for every layer and key-value head."""
    return 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * bytes_each


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


# -- what cannot fit ----------------------------------------------------------------------------------------------


def _main_memory() -> int:
    return machine.memory_bytes() or LARGEST_MEMORY


def _too_large(stage: StageConfig, planned: StagePlan, shape: ModelConfig | None, on_cpu: bool) -> str | None:
    """Return why a stage cannot fit in memory, beginning with the key to change; None if it may fit.

    Counts only what is needed in any case. The memory of a GPU is not known here: models are compared with this
    machine's main memory if they are small enough for a CPU, and else with LARGEST_MEMORY.
    """
    needed = sum(planned.memory.get(part, 0) for part in ("weights", "gradients", "optimizer", "reference"))
    limit = _main_memory() if on_cpu else LARGEST_MEMORY
    if needed > limit:
        return (
            f"{_largest_key(stage)}: {size(planned.parameters or 0)} parameters need at least {show_bytes(needed)} of "
            f"memory, but {_limit(limit)}; use a smaller model"
        )
    if shape is not None and (tokens := stage.memory_use().completion_tokens):
        cache = _kv_bytes(shape, BYTES["bfloat16"]) * tokens
        if cache > limit:
            return (
                f"max_completion_length = {tokens}: the KV cache of one completion of this length needs "
                f"{show_bytes(cache)} of memory, but {_limit(limit)}; lower max_completion_length"
            )
    for amount in stage.amounts():
        each = _completion_bytes(FEWEST_TOKENS)
        limit = _main_memory()
        if amount.what == "tokens":
            each = 0 if shape is None else shape.activation_bytes(1, BYTES["bfloat16"])
            limit = limit if on_cpu else LARGEST_MEMORY
        if amount.total * each > limit:
            key = max(amount.factors, key=lambda name: amount.factors[name] / _default(stage, name))
            product = " * ".join(amount.factors)
            return (
                f"{key} = {amount.factors[key]}: {product} = {amount.total:,} {amount.what} {amount.when} need "
                f"at least {show_bytes(amount.total * each)} of memory, but {_limit(limit)}; lower {key}"
            )
    return None


def _largest_key(stage: StageConfig) -> str:
    """Return the key that makes the model large, with its value."""
    if not isinstance(stage, Pretrain) or stage.architecture is None:
        return f"model = {stage.model}"
    values = {f"architecture.{key}": getattr(stage.architecture, key) for key in TYPICAL_SIZES if key != "vocab_size"}
    values["vocab_size"] = stage.vocab_size
    key = max(values, key=lambda name: values[name] / TYPICAL_SIZES[name.removeprefix("architecture.")])
    return f"{key} = {values[key]}"


def _limit(limit: int) -> str:
    if limit == LARGEST_MEMORY:
        return f"no machine has more than {show_bytes(limit)}"
    return f"this machine has {show_bytes(limit)}"


def _default(stage: StageConfig, key: str) -> int:
    """Return the default of a key, or 1 if it has none."""
    default = type(stage).model_fields[key].default
    return default if isinstance(default, int) else 1


# -- text ---------------------------------------------------------------------------------------------------------


def size(number: int) -> str:
    """Return a count as text with a decimal unit: 1.54B, 860K, ..."""
    for unit, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= scale:
            return f"{number / scale:,.0f}{unit}" if number >= 1000 * scale else f"{number / scale:.3g}{unit}"
    return str(number)


def show_bytes(number: int) -> str:
    """Return a number of bytes as text with a decimal unit: 2.1 GB, 30.4 MB."""
    if number >= 1e12:
        return f"{number / 1e12:,.1f} TB"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def render(planned: Plan) -> str:
    """Return the plan as text."""
    lines = [f"{planned.name} (seed {planned.seed}): {len(planned.stages)} stages"]
    for i, stage in enumerate(planned.stages, start=1):
        model = f", {size(stage.parameters)} parameters" if stage.parameters else ""
        lines.append(f"\n{i}. {stage.name} ({stage.kind}{model})")
        lines.append(f"   from     {', '.join(stage.inputs)}")
        lines.append("   does     " + stage.description.replace("\n", "\n            "))
        if stage.memory:
            parts = {name.replace("_", " "): show_bytes(n) for name, n in stage.memory.items() if n and name != "peak"}
            shown = ", ".join(f"{name} {n}" for name, n in parts.items())
            lines.append(f"   memory   about {show_bytes(stage.memory['peak'])} at peak: {shown}")
    return "\n".join(lines + [f"\nwarning: {text}" for text in planned.warnings])

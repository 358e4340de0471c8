"""What a recipe is about to do: stages, batch sizes, memory. Computed from the recipe and config.json, without torch.

Memory in bytes, N parameters, b bytes of the run's dtype (2 or 4), t tokens of a micro batch:

    weights       N * b, and N * 4 for the fp32 master copy when b is 2
    gradients     N * 4
    optimizer     N * 8                                              (AdamW's two moments, fp32)
    reference     N * b when beta > 0
    kv cache      2 * layers * kv_heads * head_dim * b * concurrent * (prompt + completion cap)
    activations   t * layers * (6 width + 2 (heads + kv_heads) head_dim + 4 intermediate) * b
                  (sft and preference keep layers * width + one layer's part of that when it would outweigh the model)
    logits        3 * 64 MiB (log-probabilities are made in chunks of 2^24 floats, forward, softmax and gradient)

Generation and training take turns, so a stage's peak is its fixed part plus the larger of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from r1kit import machine
from r1kit.config import RL, Curate, Evaluate, Pretrain, PromptSource, Recipe, Stage, Supervised
from r1kit.data.store import READERS
from r1kit.errors import UserError
from r1kit.model.config import ModelConfig
from r1kit.model.hf_config import read_config
from r1kit.model.known_shapes import known_shape
from r1kit.model.reference import local_model

PROMPT_TOKENS = 512  # assumed; only the KV cache depends on it
LOGITS_BYTES = 3 * 64 << 20
CPU_PARAMETERS = 100e6  # smaller models are taken to run on a CPU, hence in fp32, when a recipe leaves it open
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage as it will run."""

    name: str
    kind: str
    inputs: tuple[str, ...]  # the model and the prompts
    counts: Mapping[str, int]  # the batch vocabulary: steps, completions per step, ...
    parameters: int | None  # of the model; None when its shape is unknown
    memory: Mapping[str, int]  # bytes by part, "peak" last; empty when the shape is unknown


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole recipe as it will run."""

    name: str
    seed: int
    stages: tuple[StagePlan, ...]
    warnings: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(recipe: Recipe) -> Plan:
    """Look at a checked recipe as a whole. Reads config.json files at most."""
    shapes: dict[str, ModelConfig | None] = {}  # by earlier stage
    stages, warnings = [], []
    for name, stage in recipe.stage.items():
        shape = _stage_shape(stage, shapes)
        if shape is not None and isinstance(stage, Supervised):
            shape = shape.with_context(stage.context_length)
        shapes[name] = shape
        stages.append(_plan_stage(recipe, name, stage, shape))
        warnings += [f"stage.{name}: {text}" for text in _warnings(stage, shape)]
    return Plan(recipe.name, recipe.seed, tuple(stages), tuple(warnings))


def _stage_shape(stage: Stage, earlier: Mapping[str, ModelConfig | None]) -> ModelConfig | None:
    if stage.model is None:
        return ModelConfig.from_architecture(stage.architecture, stage.vocab_size, stage.context_length)
    if stage.model in earlier:
        return earlier[stage.model]
    if (directory := local_model(stage.model)) is not None:
        return read_shape(directory)
    return known_shape(stage.model)


def read_shape(directory: Path) -> ModelConfig | None:
    """The shape in a checkpoint's config.json; None for what r1kit's own decoder does not cover."""
    try:
        return read_config(directory)
    except UserError:
        return None


# -- one stage ----------------------------------------------------------------------------------------------------


def _plan_stage(recipe: Recipe, name: str, stage: Stage, shape: ModelConfig | None) -> StagePlan:
    on_cpu = recipe.device == "cpu" or (shape is not None and shape.parameter_count() < CPU_PARAMETERS)
    dtype = recipe.dtype if recipe.dtype != "auto" else machine.choose_dtype("cpu" if on_cpu else "cuda")
    bytes_each = BYTES[dtype]
    memory: dict[str, int] = {}
    if isinstance(stage, Pretrain):
        inputs = (f"corpus {stage.corpus}",)
        counts = {"steps": stage.steps, "tokens_per_step": stage.sequences_per_step * stage.context_length}
        if shape is not None:
            memory = _training_memory(shape, bytes_each, counts["tokens_per_step"], reference=False)
    elif isinstance(stage, Supervised):
        inputs = (stage.model, *stage.data)
        counts = {"epochs": stage.epochs, "sequences_per_step": stage.sequences_per_step}
        counts["context_length"] = stage.context_length
        if shape is not None:
            memory = _supervised_memory(shape, bytes_each, stage.row_tokens)
    elif isinstance(stage, RL):
        prompts = [*stage.prompts, *(source for general in stage.general for source in general.prompts)]
        inputs = (stage.model, *map(_source, prompts))
        counts = _rl_counts(stage)
        if shape is not None:
            memory = _training_memory(shape, bytes_each, stage.micro_batch_tokens, reference=stage.beta > 0)
            concurrent = min(recipe.max_concurrent, counts["completions_per_rollout"])
            memory["kv_cache"] = _kv_bytes(shape, bytes_each) * concurrent * (PROMPT_TOKENS + _longest(stage))
    else:
        asked = [*map(_source, stage.prompts), *stage.data] if isinstance(stage, Curate) else []
        asked += [f"{key}: {_source(s)}" for key, sources in stage.benchmarks.items() for s in sources]
        inputs = (stage.model, *asked)
        counts = {"samples_per_problem": stage.samples}
        if shape is not None:
            tokens = PROMPT_TOKENS + stage.max_completion_length
            memory = {"weights": shape.parameter_count() * bytes_each}
            memory["kv_cache"] = _kv_bytes(shape, bytes_each) * recipe.max_concurrent * tokens
    if memory:
        memory["peak"] = _peak(memory)
    return StagePlan(name, stage.kind, inputs, counts, shape and shape.parameter_count(), memory)


def _source(source: PromptSource) -> str:
    return source.source if source.split == "train" else f"{source.source} ({source.split})"


def _longest(stage: RL) -> int:
    return max(cap for step, cap in stage.max_completion_length.items() if step < stage.steps)


def _rl_counts(stage: RL) -> dict[str, int]:
    per_step = stage.prompts_per_step * stage.num_generations
    refresh = stage.ref_refresh_steps if stage.beta else 0
    return {
        "steps": stage.steps,
        "prompts_per_step": stage.prompts_per_step,
        "num_generations": stage.num_generations,
        "completions_per_step": per_step,
        "steps_per_rollout": stage.steps_per_rollout,
        "completions_per_rollout": per_step * stage.steps_per_rollout,
        "rollouts": -(-stage.steps // stage.steps_per_rollout),
        "reference_windows": -(-stage.steps // refresh) if refresh else 0,
        "completions": per_step * stage.steps,
    }


def _kv_bytes(shape: ModelConfig, bytes_each: int) -> int:
    """Per token: a key and a value for every layer and key-value head."""
    return 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * bytes_each


def _training_memory(shape: ModelConfig, bytes_each: int, tokens: int, reference: bool) -> dict[str, int]:
    n = shape.parameter_count()
    return {
        "weights": n * (bytes_each if bytes_each == 4 else bytes_each + 4),
        "gradients": n * 4,
        "optimizer": n * 8,
        "reference": n * bytes_each if reference else 0,
        "activations": shape.activation_bytes(tokens, bytes_each),
        "logits": LOGITS_BYTES,
    }


def _supervised_memory(shape: ModelConfig, bytes_each: int, tokens: int) -> dict[str, int]:
    memory = _training_memory(shape, bytes_each, tokens, reference=False)
    if shape.should_recompute(tokens, bytes_each):  # the inputs of all blocks, and the inside of one
        inputs = tokens * shape.num_hidden_layers * shape.hidden_size * bytes_each
        memory["activations"] = inputs + memory["activations"] // shape.num_hidden_layers
    return memory


def _peak(memory: Mapping[str, int]) -> int:
    fixed = sum(memory.get(part, 0) for part in ("weights", "optimizer", "reference"))
    training = sum(memory.get(part, 0) for part in ("gradients", "activations", "logits"))
    return fixed + max(training, memory.get("kv_cache", 0))


# -- warnings -----------------------------------------------------------------------------------------------------


def _warnings(stage: Stage, shape: ModelConfig | None) -> list[str]:
    checks: list[tuple[bool, str]] = []
    if isinstance(stage, RL):
        checks += _rl_warnings(stage)
    if isinstance(stage, (RL, Pretrain)):
        late = stage.warmup_steps >= stage.steps
        checks.append((late, f"warmup_steps = {stage.warmup_steps} never ends within steps = {stage.steps}"))
    if not isinstance(stage, Pretrain):
        if shape is None:
            checks.append((True, f"the shape of {stage.model} is not known here, so memory is not estimated"))
        else:
            key, longest = _longest_text(stage)
            fits = shape.max_position_embeddings
            checks.append((longest > fits, f"{key} = {longest} is beyond the model's {fits} positions"))
        benchmarks = (s for group in getattr(stage, "benchmarks", {}).values() for s in group)
        prompts = (source.source for source in (*getattr(stage, "prompts", ()), *benchmarks))
        for source in (*getattr(stage, "data", ()), *prompts):
            path = Path(source).expanduser()
            absent = (path.suffix in READERS or source[:1] in "./~") and not path.exists()
            checks.append((absent, f"{source}: no such file"))
    return [text for wrong, text in checks if wrong]


def _longest_text(stage: Supervised | RL | Evaluate | Curate) -> tuple[str, int]:
    """The key that bounds how many positions a stage uses, and its value."""
    if isinstance(stage, Supervised):
        return "context_length", stage.context_length
    return "max_completion_length", _longest(stage) if isinstance(stage, RL) else stage.max_completion_length


def _rl_warnings(stage: RL) -> list[tuple[bool, str]]:
    rest = stage.steps % stage.steps_per_rollout
    per_rollout = stage.steps_per_rollout
    longest = _longest(stage)
    refresh = stage.ref_refresh_steps
    return [
        (rest > 0, f"steps = {stage.steps} is not a multiple of steps_per_rollout = {per_rollout}: "
                   f"the last rollout trains {rest} of {per_rollout} steps"),
        (stage.beta > 0 and refresh > 0 and refresh % per_rollout > 0,
         f"ref_refresh_steps = {refresh} is not a multiple of steps_per_rollout = {per_rollout}"),
        (stage.micro_batch_tokens < longest,
         f"micro_batch_tokens = {stage.micro_batch_tokens} is less than one completion of {longest} tokens: "
         "the longest answers decide the memory"),
        (bool(stage.benchmarks) and not stage.eval_every, "benchmarks are given but eval_every is 0: they never run"),
        (bool(stage.eval_every) and not stage.benchmarks, "eval_every is given but there are no benchmarks"),
    ]  # fmt: skip


# -- text ---------------------------------------------------------------------------------------------------------


def size(number: int) -> str:
    """1.54B, 860K, ... (decimal)."""
    for unit, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return str(number)


def show_bytes(number: int) -> str:
    """2.1 GB, 30.4 MB (decimal)."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def render(found: Plan) -> str:
    """The plan as text."""
    lines = [f"{found.name} (seed {found.seed}): {len(found.stages)} stages"]
    for i, stage in enumerate(found.stages, start=1):
        model = f", {size(stage.parameters)} parameters" if stage.parameters else ""
        lines.append(f"\n{i}. {stage.name} ({stage.kind}{model})")
        lines.append(f"   from     {', '.join(stage.inputs)}")
        lines.append(f"   does     {_RENDER_COUNTS[stage.kind](stage.counts)}")
        if stage.memory:
            parts = {name.replace("_", " "): show_bytes(n) for name, n in stage.memory.items() if n and name != "peak"}
            shown = ", ".join(f"{name} {n}" for name, n in parts.items())
            lines.append(f"   memory   about {show_bytes(stage.memory['peak'])} at peak: {shown}")
    return "\n".join(lines + [f"\nwarning: {text}" for text in found.warnings])


def _render_rl(c: Mapping[str, int]) -> str:
    windows = f", {c['reference_windows']} reference windows" if c["reference_windows"] else ""
    return (
        f"{c['steps']} steps of {c['prompts_per_step']} prompts x {c['num_generations']} generations = "
        f"{c['completions_per_step']} completions\n            {c['rollouts']} rollouts of "
        f"{c['completions_per_rollout']} completions, {c['steps_per_rollout']} steps each{windows}; "
        f"{c['completions']:,} completions in all"
    )


def _render_supervised(c: Mapping[str, int]) -> str:
    return f"{c['epochs']} epochs, {c['sequences_per_step']} records a step of at most {c['context_length']:,} tokens"


_RENDER_COUNTS: dict[str, Callable[[Mapping[str, int]], str]] = {
    "pretrain": lambda c: f"{c['steps']} steps of {c['tokens_per_step']} tokens",
    "sft": _render_supervised,
    "preference": _render_supervised,
    "rl": _render_rl,
    "evaluate": lambda c: f"{c['samples_per_problem']} samples per problem",
    "curate": lambda c: f"{c['samples_per_problem']} samples per prompt, filtered",
}

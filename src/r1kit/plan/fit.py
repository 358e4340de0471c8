"""Whether a stage fits in this machine's memory, and what would make it fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from typing import Any

from r1kit import machine
from r1kit.config import RL, Adapters, Pretrain, StageConfig, Supervised, Training
from r1kit.config.supervised import MIN_ROW_TOKENS
from r1kit.model.config import ModelConfig
from r1kit.plan.memory import BASE_BYTES, Setting, certain, completion_bytes, memory, token_cache_bytes
from r1kit.plan.units import show_bytes, size

FEWEST_TOKENS = 16  # per completion, where the memory is counted that a rollout needs in any case
LARGEST_MEMORY = 10**13  # bytes; more than any machine has for one process
TYPICAL_SIZES = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 32, "vocab_size": 50_000}
SMALL_PASS = 2048  # tokens of a micro-batch that is proposed
RANK = 16  # of adapters that are proposed
WAYS = 2  # sets of keys that are named
ALONE = {"offload", "adam_8bit", "lora_rank", "rollouts_ahead"}  # not together with shard_weights


@dataclass(frozen=True, slots=True)
class Limits:
    """The memory of this machine in bytes."""

    device: machine.Device
    on_device: int
    main: int
    processes: int = 1
    """That share the main memory."""

    @classmethod
    def of(cls, device: machine.Device, processes: int = 1) -> Limits:
        """Return the limits of one process. What the system does not report is taken for very large."""
        main = machine.memory_bytes() // processes or LARGEST_MEMORY
        return cls(device, main if device == "cpu" else machine.gpu_memory() or LARGEST_MEMORY, main, processes)

    def __str__(self) -> str:
        return self.text(self.on_device)

    def text(self, limit: int) -> str:
        """Return one of the limits as a sentence."""
        if limit == LARGEST_MEMORY:
            return f"no machine has more than {show_bytes(limit)}"
        each = f" for each of {self.processes} processes" if limit == self.main and self.processes > 1 else ""
        return f"this {'machine' if limit == self.main else 'GPU'} has {show_bytes(limit)}{each}"


def warning_of_peak(parts: Mapping[str, int], limits: Limits) -> str | None:
    """Return a warning if a stage fits only while texts are shorter than their limits."""
    if parts["peak"] <= limits.on_device:
        return None
    keys = "max_completion_length" if "kv_cache" in parts else "context_length"
    return (
        f"needs up to {show_bytes(parts['peak'])} if all texts are as long as allowed; {limits}. A lower {keys} needs "
        "less"
    )


def warning_of_cache(stage: StageConfig, shape: ModelConfig, setting: Setting) -> str | None:
    """Return a warning if the KV cache cannot hold all completions that run at the same time, at full length."""
    limited, full = (
        memory(stage, shape, replace(setting, kv_cache_tokens=tokens)).get("kv_cache", 0)
        for tokens in (setting.kv_cache_tokens, None)
    )
    if limited == full:
        return None
    return (
        f"a KV cache for max_concurrent = {setting.max_concurrent} completions of full length needs {show_bytes(full)} "
        f"and has {show_bytes(limited)}: where they grow too long, fewer run at the same time, with the same tokens"
    )


def too_large(stage: StageConfig, shape: ModelConfig, setting: Setting, limits: Limits) -> str | None:
    """Return why a stage cannot fit in memory, beginning with a key, and what would make it fit; None if it may fit.

    Counts only what is needed in any case: no completion is assumed to be long.
    """
    parts = memory(stage, shape, setting)
    states = ("weights", "master", "gradients", "optimizer", "reference", "critic", "critic_state")
    weights = sum(parts.get(part, 0) for part in states)
    if weights <= limits.on_device and (reason := _impossible_amount(stage, shape, limits)):
        return reason
    if not _fits(stage, shape, setting, limits):
        return _refusal(stage, shape, setting, limits)
    if (needed := _needed_in_main_memory(parts)) > limits.main:
        ways = "set offload = false, " if isinstance(stage, Training) and stage.offload else ""
        return (
            f"{largest_key(stage)}: needs {show_bytes(needed)} of main memory for checkpoints and what is offloaded, "
            f"but this machine has {show_bytes(limits.main)}: {ways}use a smaller model, or a larger machine"
        )
    return None


def _needed_in_main_memory(parts: Mapping[str, int]) -> int:
    return parts.get("main_memory", 0) - parts.get("completions", 0)


def _fits(stage: StageConfig, shape: ModelConfig, setting: Setting, limits: Limits) -> bool:
    return certain(stage, shape, setting) <= limits.on_device


def _refusal(stage: StageConfig, shape: ModelConfig, setting: Setting, limits: Limits) -> str:
    """Name what is needed, and the smallest sets of keys, the model and the machine that would do."""
    needed, parameters = certain(stage, shape, setting), shape.parameter_count()

    def fits(changed: StageConfig) -> bool:
        fits_beside = _needed_in_main_memory(memory(changed, shape, setting)) <= limits.main
        return fits_beside and _fits(changed, shape, setting, limits)

    ways = [*sufficient_changes(stage, setting.device, fits)]
    base = BASE_BYTES[setting.device]
    smaller = int(parameters * (limits.on_device - base) / (needed - base))
    if smaller > 0:
        ways.append(f"use a model of at most about {size(smaller)} parameters")
    ways.append(f"use a {'machine' if setting.device == 'cpu' else 'GPU'} with at least {show_bytes(needed)}")
    if len(ways) < 3:
        ways.append("run only the stages before it, with --until")
    training = " with gradients, optimizer and activations" if isinstance(stage, Training) else ""
    return (
        f"{largest_key(stage)}: {size(parameters)} parameters{training} need at least {show_bytes(needed)} of memory, "
        f"but {limits}: {'; or '.join(ways)}"
    )


def sufficient_changes(
    stage: StageConfig, device: machine.Device, fits: Callable[[StageConfig], bool]
) -> Iterator[str]:
    """Yield up to WAYS smallest sets of changed keys with which a stage fits, as text."""
    changes = _changes(stage, device)
    found: list[set[int]] = []
    for count in range(1, len(changes) + 1):
        for chosen in combinations(range(len(changes)), count):
            if len(found) == WAYS:
                return
            keys = {key: value for i in chosen for key, value in changes[i].items()}
            if any(smaller <= set(chosen) for smaller in found) or ("shard_weights" in keys and keys.keys() & ALONE):
                continue
            if fits(stage.model_copy(update=keys)):
                found.append(set(chosen))
                yield _assignments(keys)


def _changes(stage: StageConfig, device: machine.Device) -> list[dict[str, Any]]:
    """Return changes of keys that save memory, those that change results the least first."""
    if not isinstance(stage, Training):
        return []
    changes: list[dict[str, Any]] = []
    if stage.recompute != "on":
        changes.append({"recompute": "on"})
    if isinstance(stage, RL) and stage.micro_batch_tokens > SMALL_PASS:
        shorter = {"max_completion_length": {0: SMALL_PASS}} if stage.longest_completion > SMALL_PASS else {}
        changes.append({"micro_batch_tokens": SMALL_PASS, **shorter})
    if not stage.shard_weights and not any(getattr(stage, key, False) for key in ALONE):
        changes.append({"shard_weights": True})
    if device == "cuda" and not stage.offload:
        changes.append({"offload": True})
    if not stage.adam_8bit:
        changes.append({"adam_8bit": True})
    if isinstance(stage, Adapters) and not stage.lora_rank:
        changes.append({"lora_rank": RANK})
    if isinstance(stage, Supervised) and stage.row_tokens > MIN_ROW_TOKENS:
        changes.append({"context_length": min(MIN_ROW_TOKENS // 2, stage.context_length)})
    if isinstance(stage, Pretrain) and stage.sequences_per_step > 1:
        changes.append({"sequences_per_step": max(1, stage.sequences_per_step // 8)})
    return changes


def _assignments(keys: Mapping[str, Any]) -> str:
    """Return keys and values as text: set recompute = "on" and lora_rank = 16."""
    shown = {key: value[0] if isinstance(value, dict) else value for key, value in keys.items()}
    texts = [f"{key} = {_toml(value)}" for key, value in shown.items()]
    return "set " + " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[:-1] else texts)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _impossible_amount(stage: StageConfig, shape: ModelConfig, limits: Limits) -> str | None:
    """Return why no setting of the device could hold what the stage holds at the same time."""
    if tokens := stage.memory_use().completion_tokens:
        cache = token_cache_bytes(shape, 2) * tokens
        if cache > limits.on_device:
            return (
                f"max_completion_length = {tokens}: the KV cache of one completion of this length needs "
                f"{show_bytes(cache)} of memory, but {limits}; lower max_completion_length"
            )
    for amount in stage.amounts():
        each, limit = completion_bytes(FEWEST_TOKENS), limits.main
        if amount.what == "tokens":
            each, limit = shape.activation_bytes(1, 2), limits.on_device
        if amount.total * each > limit:
            key = max(amount.factors, key=lambda name: Fraction(amount.factors[name], _default(stage, name)))
            product = " * ".join(amount.factors)
            return (
                f"{key} = {amount.factors[key]}: {product} = {amount.total:,} {amount.what} {amount.when} need "
                f"at least {show_bytes(amount.total * each)} of memory, but {limits.text(limit)}; lower {key}"
            )
    return None


def largest_key(stage: StageConfig) -> str:
    """Return the key that makes the model large, with its value."""
    if not isinstance(stage, Pretrain) or stage.architecture is None:
        return f"model = {stage.model}"
    values = {f"architecture.{key}": getattr(stage.architecture, key) for key in TYPICAL_SIZES if key != "vocab_size"}
    values["vocab_size"] = stage.vocab_size
    key = max(values, key=lambda name: Fraction(values[name], TYPICAL_SIZES[name.removeprefix("architecture.")]))
    return f"{key} = {values[key]}"


def _default(stage: StageConfig, key: str) -> int:
    """Return the default of a key, or 1 if it has none."""
    default = type(stage).model_fields[key].default
    return default if isinstance(default, int) else 1

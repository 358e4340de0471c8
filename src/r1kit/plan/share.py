"""The memory of one of N GPUs that train a model together, and of the engine that generates for them.

With W bytes of weights, T trained parameters and R bytes of reference model (see `plan.memory`; what passes and logits
hold comes on top):

    one GPU    W + R + 16 T
    several    W + R + 4 T + 16 T / N: weights and gradients of all on every GPU, as `learn.sharded` does. In bfloat16
               6 + 16/N bytes a parameter, and 2 for a reference. Adapters are updated by every GPU: 16 T
    resharded  (R + 16 T) / N + blocks, with `shard_weights`: 16/N bytes a parameter, and 2/N for a reference. Two
               blocks are gathered at a time, one of them has gradients in fp32; embeddings and head stay gathered. To
               generate, all weights are

    critic     of PPO: 2 bytes a parameter for its weights and 12 for its training state, in shares where those of the
               policy are. Its gradients come when the policy's are gone

    native     generates with the learner's weights; the KV cache is in what is free while nothing is trained
    vllm       has its own weights and KV cache on the same GPU, all the time
    servers    vLLM on half of the GPUs, several for one copy of weights that take more than WEIGHT_SHARE of a GPU
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from r1kit.config import Adapters, StageConfig, Training
from r1kit.config.stage import PROMPT_TOKENS
from r1kit.model.config import ModelConfig
from r1kit.plan.gpus import Cluster
from r1kit.plan.memory import BASE_BYTES, MEMORY_SHARE, VLLM_RESERVE, Setting, critic_bytes, gathered_bytes, memory
from r1kit.plan.units import show_bytes

EngineKind = Literal["native", "vllm", "servers"]
WEIGHT_SHARE = 0.6  # of a GPU's memory, for the weights of a vLLM server: the rest is for keys and values
RESERVE = VLLM_RESERVE["cuda"]
# What stays while completions are generated.
BETWEEN = ("weights", "reference", "master", "optimizer", "reward_models", "critic", "critic_state")


@dataclass(frozen=True, slots=True)
class Share:
    """What one GPU holds."""

    learning: Mapping[str, int]
    """Bytes by part while training; empty for a stage that does not train."""
    learners: Cluster
    """GPUs that train."""
    engines: Cluster
    """GPUs that generate: the same, or others."""
    engine_gpus: int
    """GPUs over which one copy of the weights is spread to generate."""
    token_bytes: int
    """Of a token in the KV cache."""
    cache_tokens: int
    """Tokens that fit into the KV cache of one copy; 0 if the stage does not generate."""
    problem: str
    """Why the stage does not fit; "" if it does."""

    @property
    def peak(self) -> int:
        """Bytes of a GPU while training; 0 for a stage that does not train."""
        return sum(self.learning.values())


def share(stage: StageConfig, shape: ModelConfig, setting: Setting, cluster: Cluster, engine: EngineKind) -> Share:
    """Return the memory of a GPU of a cluster, on which a stage trains and generates."""
    use, b, gpu = stage.memory_use(), setting.bytes_each, cluster.gpu
    learners, engines = (cluster, cluster) if engine != "servers" or use.completions == 0 else cluster.halves()
    learning: dict[str, int] = {}
    if isinstance(stage, Training):
        learning = _learning(stage, shape, setting, learners.count)
    problem, needed = "", sum(learning.values())
    if needed > gpu.memory and isinstance(stage, Training):
        problem = f"training needs {show_bytes(needed)} on each GPU"
        if learners.count > 1:
            spread = show_bytes(resharded(stage, shape, setting, learners.count))
            problem += "" if stage.shard_weights else f" ({spread} with shard_weights = true)"
    weights, token_bytes = b * shape.parameter_count(), b * shape.num_hidden_layers * shape.served_cache_width
    gpus, base = 1, BASE_BYTES["cuda"]
    if engine == "native":
        held = sum(learning.get(name, 0) for name in BETWEEN)
        is_split = isinstance(stage, Training) and stage.shard_weights and learners.count > 1
        beside = base + (weights + held if is_split else max(weights, held))
        token_bytes = b * shape.num_hidden_layers * shape.cache_width
    elif engine == "vllm":
        beside = max(base, needed) + weights + RESERVE
    else:
        gpus = _engine_gpus(weights, engines)
        beside = base + weights // gpus + RESERVE
    tokens = max(0, int(gpus * (MEMORY_SHARE * gpu.memory - beside) / token_bytes)) if use.completions != 0 else 0
    if setting.kv_cache_tokens is not None:
        tokens = min(tokens, setting.kv_cache_tokens)
    if not problem and use.completions != 0 and tokens < use.completion_tokens + PROMPT_TOKENS:
        problem = f"the KV cache holds {tokens:,} tokens, fewer than a completion of {use.completion_tokens:,}"
    return Share(learning, learners, engines, gpus, token_bytes, tokens, problem)


def _engine_gpus(weights: int, engines: Cluster) -> int:
    gpus = 1
    while weights > gpus * WEIGHT_SHARE * engines.gpu.memory and 2 * gpus <= engines.count:
        gpus *= 2
    return gpus


def _learning(stage: Training, shape: ModelConfig, setting: Setting, count: int) -> dict[str, int]:
    assert isinstance(stage, StageConfig)
    parts = memory(stage, shape, setting)
    trained = _trained(stage, parts)
    among = 1 if isinstance(stage, Adapters) and stage.lora_rank else count
    critic = critic_bytes(stage, shape, replace(setting, processes=count))
    if stage.shard_weights and among > 1:
        shares = {"reference": parts["reference"], "master": 4 * trained, "optimizer": parts["optimizer"]}
        held = {name: size // count for name, size in {**shares, "gradients": 4 * trained}.items()}
        return {
            "base": BASE_BYTES["cuda"],
            **held,
            "gathered": gathered_bytes(shape, setting.bytes_each),
            **critic,
            **_own(parts),
        }
    held = {"weights": parts["weights"], "reference": parts["reference"], "gradients": 4 * trained}
    state = {"master": parts["master"], "optimizer": parts["optimizer"]}
    if among > 1:
        state = {"master": 4 * trained // count, "optimizer": parts["optimizer"] // count}
        held["gradients"] += 4 * trained // count  # a share of the sum over GPUs
    if stage.offload:
        state, held["reference"], critic["critic_state"] = {}, 0, 0
        held["gradients"] = 0 if among == 1 else 4 * trained
    return {"base": BASE_BYTES["cuda"], **held, **state, **critic, **_own(parts)}


def resharded(stage: Training, shape: ModelConfig, setting: Setting, count: int) -> int:
    """Return the bytes of one of `count` GPUs while training with `shard_weights`."""
    return sum(_learning(stage.model_copy(update={"shard_weights": True}), shape, setting, count).values())


def _trained(stage: Training, parts: Mapping[str, int]) -> int:
    return parts["optimizer"] // (2 if stage.adam_8bit else 8)


def _own(parts: Mapping[str, int]) -> dict[str, int]:
    """Return what every GPU has for itself."""
    return {name: parts[name] for name in ("reward_models", "activations", "attention", "logits") if name in parts}

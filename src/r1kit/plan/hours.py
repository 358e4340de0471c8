"""The time of a stage on a cluster, by arithmetic: what memory bandwidth, matrix units and links allow.

    decode     token steps of one copy of the weights: as many as the longest completion has tokens, or more if the KV
               cache holds only some completions at a time. Each reads the weights once (of a model with experts, at
               most those that the rows use) and the keys and values of its rows, at full bandwidth
    prefill    2 A operations a token, for every prompt once
    learning   6 A operations a token, 2 A more with recomputation and 2 A more with a reference model, and attention
               over all earlier tokens; on the GPU with the most tokens, which is one completion of full length if
               others have less. A critic needs as many, and 2 A for its values
    links      once a step, gradients in 4 bytes and new weights in 2. With `shard_weights`, for every micro-batch:
               weights in 2 bytes for the forward pass, the backward pass and the reference, and gradients in 4
    push       weights in 2 bytes to vLLM servers, once a rollout

Rollouts and updates take turns. With servers and `rollouts_ahead`, the longer of the two counts; on the same GPUs they
share what there is.

A are the parameters that compute a token. Each process samples the groups of its own prompts; with vLLM servers, every
completion may go to any server. Stages that do not train use the first process alone, and all servers. Grading,
checkpoints, start-up and failures are left out, so real runs take longer. Reward models are counted in memory only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from r1kit.config import StageConfig, Training
from r1kit.config.stage import PROMPT_TOKENS
from r1kit.model.config import ModelConfig
from r1kit.plan.gpus import GPU
from r1kit.plan.memory import recomputes
from r1kit.plan.share import Share
from r1kit.plan.work import Work

# Share of the peak rate of matrix units in training and prefill. Llama 3 reached 38 to 43 % in bfloat16 on 8,192 to
# 16,384 H100 (arXiv 2407.21783, Table 4).
PEAK_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of one rollout and of one optimizer update, by cause."""

    rollout: float = 0.0
    """Decode and prefill."""
    push: float = 0.0
    learning: float = 0.0
    links: float = 0.0
    """Part of an update in which GPUs wait for each other's weights and gradients."""
    overlaps: bool = False
    """Whether servers generate while others train (`rollouts_ahead`)."""

    def total(self, work: Work) -> float:
        """Return the seconds of all rollouts and updates."""
        generating, training = work.rollouts * (self.rollout + self.push), work.steps * (self.learning + self.links)
        return max(generating, training) if self.overlaps else generating + training


def seconds(stage: StageConfig, work: Work, shape: ModelConfig, share: Share, rows: int) -> Seconds:
    """Return the time of one rollout and one update of a stage.

    One engine generates up to `rows` completions at the same time, if its KV cache holds them.
    """
    rollout = push = learning = links = 0.0
    if work.completions:
        rollout = _rollout(work, shape, share, rows)
        if work.steps and has_servers(share):
            push = 2 * shape.parameter_count() / share.engines.link
    if isinstance(stage, Training):
        learning, links = _update(stage, work, shape, share)
    return Seconds(rollout, push, learning, links, has_servers(share) and stage.memory_use().samples_ahead)


def rows_at_once(work: Work, share: Share, rows: int) -> int:
    """Return how many completions one engine generates at the same time."""
    fitting = int(share.cache_tokens // (work.mean + PROMPT_TOKENS / work.samples))
    return max(1, min(rows, fitting, _of_an_engine(work, share)))


def has_servers(share: Share) -> bool:
    """Return whether other GPUs generate than train."""
    return share.engines is not share.learners


def _of_an_engine(work: Work, share: Share) -> int:
    """Return how many completions of a rollout the busiest engine generates."""
    engines = max(1, share.engines.count // share.engine_gpus)
    if has_servers(share):
        return math.ceil(work.completions / engines)
    if not work.steps:
        return work.completions
    return min(work.completions, math.ceil(work.completions / work.samples / engines) * work.samples)


def _rollout(work: Work, shape: ModelConfig, share: Share, rows: int) -> float:
    own, gpus, gpu = _of_an_engine(work, share), share.engine_gpus, share.engines.gpu
    at_once = rows_at_once(work, share, rows)
    token_steps = max(work.longest, own * work.mean / at_once)
    active = computing_parameters(shape)
    weights = 2 * min(shape.parameter_count(), at_once * active)
    # A token reads all before it. Lengths as in an exponential distribution: their mean square is twice the mean's.
    reads = own * min(work.mean**2, work.mean * work.longest / 2) * share.token_bytes
    rate = PEAK_SHARE * gpu.flops * gpus
    decode = max((token_steps * weights + reads) / (gpu.bandwidth * gpus), 2 * active * own * work.mean / rate)
    return decode + 2 * active * own / work.samples * PROMPT_TOKENS / rate


def _update(stage: Training, work: Work, shape: ModelConfig, share: Share) -> tuple[float, float]:
    """Return seconds of computing, and of waiting for links."""
    assert isinstance(stage, StageConfig)
    cluster, count = share.learners, share.learners.count
    tokens = work.step_tokens / count
    computing = max(
        training_seconds(stage, shape, cluster.gpu, tokens, min(work.mean, work.longest / 2)),
        training_seconds(stage, shape, cluster.gpu, work.longest, work.longest / 2),
    )
    if count == 1:
        return computing, 0.0
    use = stage.memory_use()
    per_update = 6 * (1 + use.has_critic)
    if stage.shard_weights:
        passes = math.ceil(max(tokens, work.longest) / use.trained_tokens)
        per_update = passes * (8 + 2 * use.has_reference + 10 * use.has_critic)
    return computing, per_update * shape.parameter_count() * (count - 1) / count / cluster.link


def training_seconds(stage: Training, shape: ModelConfig, gpu: GPU, tokens: float, context: float) -> float:
    """Return the time of one GPU for the passes over tokens that attend to `context` others on average."""
    assert isinstance(stage, StageConfig)
    use = stage.memory_use()
    trained = 3 + recomputes(stage, use, shape, 2)  # in units of a forward pass
    passes = trained + use.has_reference + (1 + trained) * use.has_critic
    widths = shape.cache_width // shape.num_key_value_heads  # of a key and a value head
    attention = 2 * shape.num_hidden_layers * shape.num_attention_heads * widths * context
    return tokens * passes * (2 * computing_parameters(shape) + attention) / (PEAK_SHARE * gpu.flops)


def computing_parameters(shape: ModelConfig) -> int:
    """Return the parameters that compute a token: all active ones but the input embedding, which is looked up."""
    lookup = 0 if shape.tie_word_embeddings else shape.vocab_size * shape.hidden_size
    return shape.active_parameters() - lookup

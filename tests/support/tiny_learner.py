"""A policy whose updates and checkpoints take milliseconds, and batches that depend on the step alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from r1kit.config import RL
from r1kit.learn.batch import make_batch
from r1kit.learn.checkpoint import Checkpoints
from r1kit.learn.learner import Learner
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.types import Completion, TrainBatch

VOCABULARY = 64


def tiny_learner(seed: int = 0, beta: float = 0.02, dtype: torch.dtype = torch.float32) -> Learner:
    """A learner with warm-up, decay, and a reference model refreshed every third update unless beta is 0."""
    shape = dict(model_type="qwen2", vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48)
    shape |= dict(num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8, eos_token_ids=(0,))
    model = Decoder(ModelConfig(**shape))
    model.init_weights(seed)
    schedule = dict(learning_rate=3e-3, lr_scheduler_type="linear", warmup_steps=2, weight_decay=0.1, steps=120)
    rl = dict(model="m", prompts=["world:arithmetic"], max_completion_length=8, ref_refresh_steps=3, beta=beta)
    return Learner(model.to(dtype), RL(kind="rl", **schedule, **rl))


def batch_of(step: int) -> TrainBatch:
    """Two groups of two completions, a pure function of the step."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.randint(1, VOCABULARY, (6, 7), generator=generator).tolist()
    old = torch.randn(4, 7, generator=generator) * 0.1 - 5
    completions = [Completion("p", i, tuple(rows[i]), tuple(old[i].tolist()), "", "stop") for i in range(4)]
    advantages = torch.tensor([[1.0, -1.0], [0.5, -0.5]])
    return make_batch(rows[4:], [completions[:2], completions[2:]], advantages, temperature=1.0, mask_truncated=False)


def train(learner: Learner, steps: range) -> list[dict[str, float]]:
    return [learner.step(batch_of(step), step) for step in steps]


def save(learner: Learner, progress: dict[str, Any], directory: Path) -> None:
    with Checkpoints(directory) as store:
        store.save(learner, progress)


def restore(learner: Learner, directory: Path) -> dict[str, Any] | None:
    with Checkpoints(directory) as store:
        return store.restore(learner)


def all_tensors(learner: Learner) -> list[torch.Tensor]:
    """Copies of every tensor that later updates depend on."""
    tensors = list(learner.model.state_dict().values()) + list(learner.master.state_dict().values())
    tensors += list(learner.reference.state_dict().values()) if learner.reference else []
    for parameter in learner.master.parameters():
        state = learner.optimizer.state[parameter]
        tensors += [state["exp_avg"], state["exp_avg_sq"], torch.as_tensor(state["step"])]
    return [tensor.clone() for tensor in tensors]


def all_equal(actual: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return len(actual) == len(expected) and all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))

"""Models with random weights and batches of random tokens, for `gpu_check.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from r1kit.config import RL
from r1kit.data.pack import Document, PackedRow, pack
from r1kit.learn.batch import make_batch
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.types import Completion, TrainBatch


@dataclass(frozen=True)
class Work:
    """How much is measured."""

    shapes: Mapping[str, ModelConfig]
    prompt_tokens: int
    prompts: int
    group: int
    tokens: int
    """Of a completion."""
    row_tokens: int
    """Of a packed row."""
    matrix: int
    repeats: int


FULL = Work(
    {"0.5B": KNOWN_SHAPES["Qwen/Qwen2.5-0.5B"], "1.5B": KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"]},
    prompt_tokens=128, prompts=8, group=16, tokens=256, row_tokens=8192, matrix=8192, repeats=3,
)  # fmt: skip
_SMALL = replace(
    FULL.shapes["0.5B"], vocab_size=832, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16,
)  # fmt: skip
TINY = Work(
    {"tiny": _SMALL}, prompt_tokens=16, prompts=2, group=4, tokens=16, row_tokens=256, matrix=256, repeats=1
)  # fmt: skip


def random_model(shape: ModelConfig, device: torch.device) -> Decoder:
    """Return a decoder in float32, made on the device, because drawing weights on a CPU takes a while."""
    with torch.device(device):
        model = Decoder(shape)
    generator = torch.Generator(device).manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.02, generator=generator)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(weight)
    return model


def rl_config(work: Work) -> RL:
    """Return an rl stage with one step of this work."""
    return RL(
        kind="rl",
        model="random",
        prompts=["world:arithmetic"],
        prompts_per_step=work.prompts,
        num_generations=work.group,
        steps_per_rollout=1,
        max_completion_length=work.tokens,
        micro_batch_tokens=8 * work.tokens,
        learning_rate=1e-6,
    )


def random_prompts(shape: ModelConfig, work: Work) -> list[list[int]]:
    """Return token ids of the prompts."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(1, shape.vocab_size, (work.prompts, work.prompt_tokens), generator=generator).tolist()


def random_batch(model: Decoder, work: Work) -> TrainBatch:
    """Return a batch of random completions, as likely as under a uniform distribution."""
    generator, vocabulary = torch.Generator().manual_seed(1), model.config.vocab_size
    ids = torch.randint(1, vocabulary, (work.prompts * work.group, work.tokens), generator=generator).tolist()
    logp = (-math.log(vocabulary),) * work.tokens
    rows = enumerate(map(tuple, ids))
    made = [Completion(str(i // work.group), i % work.group, row, logp, "", "length") for i, row in rows]
    return batch_of(model, work, made)


def batch_of(model: Decoder, work: Work, completions: Sequence[Completion]) -> TrainBatch:
    """Return completions with random advantages as a batch on the model's device."""
    groups = [completions[i : i + work.group] for i in range(0, len(completions), work.group)]
    advantages = torch.randn(work.prompts, work.group, generator=torch.Generator().manual_seed(1))
    prompts = random_prompts(model.config, work)
    return make_batch(prompts, groups, advantages, temperature=1.0, mask_truncated=False, device=model.device)


def random_row(shape: ModelConfig, tokens: int) -> PackedRow:
    """Return a packed row of four documents of different lengths."""
    random = np.random.default_rng(3)
    parts = [tokens // 2, tokens // 4, tokens // 8, tokens // 8]
    documents = [Document(random.integers(1, shape.vocab_size, n).astype(np.int32), n // 4) for n in parts]
    return pack(documents)

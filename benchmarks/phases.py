"""Measure the phases of a rollout, of an update and of a supervised step. Weights and tokens are random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from models import tokenizer
from work import BYTES, Machine, Phase, Work, adam, attention, causal_pairs, head, layers, training

from r1kit.model.config import ModelConfig
from r1kit.plan.memory import _packed_bytes

AT_ONCE = 512  # completions that are decoded together, the default of `max_concurrent`


@dataclass(frozen=True)
class Size:
    """What is measured of a shape."""

    prompts: int
    answers: int  # completions of a prompt
    length: int  # tokens of a prompt
    tokens: int  # of a completion, in generation
    trained: int  # of a completion, in an update
    documents: int
    document: int  # tokens of a document
    repeats: int

    @property
    def completions(self) -> int:
        return self.prompts * self.answers

    @property
    def rows(self) -> int:
        """Completions that are decoded at the same time. Above AT_ONCE, their number is a multiple of it."""
        return min(self.completions, AT_ONCE)


def random_ids(shape: ModelConfig, rows: int, tokens: int) -> Any:
    """Return token ids [rows, tokens]."""
    import torch

    return torch.randint(1, shape.vocab_size, (rows, tokens), generator=torch.Generator().manual_seed(0))


def generation(machine: Machine, model: Any, size: Size, dtype: str) -> Iterator[Phase]:
    """Measure a rollout: packed copies of weights, prefill of prompts without a common prefix, decode steps."""
    from r1kit.engine import blocks, native, schedule
    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.cache import KVCache
    from r1kit.model.fused.support import can_fuse

    shape, prompt_tokens = model.config, size.prompts * size.length
    engine = native.NativeEngine(model, tokenizer(), AT_ONCE)
    requests = [
        Request(str(i), tuple(ids), size.answers)
        for i, ids in enumerate(random_ids(shape, size.prompts, size.length).tolist())
    ]
    if can_fuse(model.head_weight):
        from r1kit.engine.fused import blocks as fused_blocks

        attend: tuple[Any, str] = (fused_blocks._Step, "attend")
    else:
        attend = (KVCache, "__call__")
    total, packing, prompts, decoding, attending, sampling = machine.spent(
        lambda: engine.generate(requests, SamplingParams(0, size.tokens)), size.repeats, (native, "prepacked"),
        (schedule, "prompt_states"), (blocks.BlockEngine, "_decode"), attend, (blocks, "sample"),
    )  # fmt: skip
    rounds = size.completions // size.rows
    steps = rounds * (size.tokens - 1)  # nothing follows a last token
    prefill = (
        layers(shape, prompt_tokens, dtype),
        attention(shape, size.prompts * causal_pairs(size.length), prompt_tokens, dtype),
    )
    own = size.tokens / 2  # the mean over steps
    keys = size.rows * own + prompt_tokens / rounds
    attended = attention(shape, steps * size.rows * (own + size.length), steps * keys, dtype)
    logits = Work(0, rounds * size.tokens * BYTES["float32"] * size.rows * shape.vocab_size, "float32")
    decoded = [*layers(shape, size.rows, dtype, steps), head(shape, size.rows, "float32", steps)]
    yield Phase("rollout", total, [*prefill[0], *decoded], [prefill[1], attended, logits], packed=True)
    if copies := _packed_bytes(shape, BYTES[dtype]):  # reads all weights once, not necessary for a rollout
        copied = Work(0, BYTES[dtype] * shape.parameter_count() + copies, dtype)
        yield Phase("of it packing", packing, [], [copied], packed=True)
    yield Phase("of it prefill", prompts, prefill[0], [prefill[1]], packed=True)
    yield Phase("of it decode steps", decoding, decoded, [attended, logits], packed=True, times=steps)
    yield Phase("of them attention", attending, [], [attended], packed=True, times=steps)
    yield Phase("of them sampling", sampling, [], [logits], packed=True, times=steps)


def random_batch(shape: ModelConfig, size: Size) -> Any:
    """Return a batch of random completions."""
    import torch

    from r1kit.learn.batch import make_batch
    from r1kit.types import Completion

    ids = random_ids(shape, size.completions, size.trained).tolist()
    sampled = [Completion(str(i), 0, tuple(row), (-6.0,) * len(row), "", "length") for i, row in enumerate(ids)]
    groups = [sampled[i : i + size.answers] for i in range(0, size.completions, size.answers)]
    prompts = random_ids(shape, size.prompts, size.length).tolist()
    advantages_PG = torch.randn(size.prompts, size.answers, generator=torch.Generator().manual_seed(0))
    return make_batch(prompts, groups, advantages_PG, temperature=1.0, mask_truncated=False)


def rl_config() -> Any:
    from r1kit.config import RL

    return RL(kind="rl", model="policy", prompts=["world:arithmetic"], beta=0, steps=100)


def update_step(model: Any, size: Size) -> Callable[[], object]:
    """Return a function that updates the policy on random completions, without reference model."""
    from r1kit.learn.learner import Learner

    learner, batch = Learner(model, rl_config()), random_batch(model.config, size)
    return lambda: learner.step(batch, 0)


def passes(model: Any, size: Size) -> Callable[[], object]:
    """Return a function that makes the forward and backward passes of an update, without fp32 weights and optimizer."""
    from r1kit.learn.logprobs import token_logprobs_and_entropy
    from r1kit.learn.step.passes import Passes
    from r1kit.learn.world import ALONE

    def loss(states_SD: Any, rows: Any) -> Any:
        return -token_logprobs_and_entropy(states_SD, model.head_weight, rows.targets_S)[0].sum()

    batch = random_batch(model.config, size)
    return lambda: Passes(rl_config(), ALONE).backward(model, batch, loss)


def supervised_step(master: Any, size: Size, dtype: str) -> Callable[[], object]:
    """Return a function that trains fp32 weights on packed documents."""
    import numpy as np
    import torch

    from r1kit.config import SFT
    from r1kit.data.pack import Document, first_fit, pack
    from r1kit.learn.next_token import answer_loss
    from r1kit.learn.optim import make_optimizer
    from r1kit.learn.precision import compute_copy
    from r1kit.learn.world import ALONE
    from r1kit.stages.train_loop import TrainState, _step

    shape, config = master.config, SFT(kind="sft", model="policy", data=["given"])
    texts = [Document(np.array(ids, np.int32), 1) for ids in random_ids(shape, size.documents, size.document).tolist()]
    rows = [pack([texts[i] for i in row]) for row in first_fit([len(text) for text in texts], 4096)]
    model = compute_copy(master, getattr(torch, dtype))
    state = TrainState(master, model, make_optimizer(master, config), ALONE)
    return lambda: _step(state, rows, answer_loss, 1e-5, 1.0)


def update(machine: Machine, model: Any, size: Size, dtype: str, complete: bool = True) -> Iterator[Phase]:
    """Measure an update of the policy, or only its forward and backward passes."""
    from r1kit.learn import learner
    from r1kit.learn.step.passes import Passes

    continued = size.trained - 1  # nothing follows a last token
    pairs = size.prompts * causal_pairs(size.length)
    pairs += size.completions * (continued * size.length + causal_pairs(continued))
    tokens = size.prompts * size.length + size.completions * continued
    products, attended = training(model.config, dtype, tokens, size.completions * size.trained, pairs)
    adamw = adam(model.config)
    if complete:
        parts = ((Passes, "backward"), (learner, "update"))
        total, both, optimizer = machine.spent(update_step(model, size), size.repeats, *parts)
        yield Phase("update", total, products, [attended, adamw], packed=False)
    else:
        both = machine.seconds(passes(model, size), size.repeats)
    yield Phase("of it forward and backward", both, products, [attended], packed=False)
    if complete:
        yield Phase("of it AdamW and clipping", optimizer, [], [adamw], packed=False)


def supervised(machine: Machine, master: Any, size: Size, dtype: str) -> Phase:
    """Measure a step of supervised training."""
    seconds = machine.seconds(supervised_step(master, size, dtype), size.repeats)
    tokens, losses = size.documents * size.document, size.documents * (size.document - 1)
    products, attended = training(master.config, dtype, tokens, losses, size.documents * causal_pairs(size.document))
    return Phase("supervised step", seconds, products, [attended, adam(master.config)], packed=False)

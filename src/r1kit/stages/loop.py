"""The training loop that stages without rollouts share: checkpoints, schedule, gradient, log and progress.

    source(done) -> one list of batches an update -> loss of each, over what the whole update holds -> AdamW

Everything a step learns from is a function of the stage's seed and the step's number, so a stage that was killed goes
on from its last checkpoint as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from r1kit.config import Optimizer
from r1kit.console import progress
from r1kit.interrupt import finishing_steps
from r1kit.learn.checkpoint import Checkpoints
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.learn.precision import compute_copy, copy_weights
from r1kit.metrics.watchdog_log import WatchdogLog
from r1kit.model.dtypes import torch_dtype
from r1kit.stages.context import StageContext

MEASUREMENTS = 10  # evenly over a stage, the last after its last step


class Batch(Protocol):
    """What one backward pass takes."""

    @property
    def count(self) -> int:
        """Learned tokens, or pairs: the loss is a mean over all of a step's."""

    @property
    def tokens(self) -> int:
        """All tokens of the forward pass."""


T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=Batch)


@dataclass(slots=True)
class Training:
    """What a checkpoint of such a stage holds."""

    master: nn.Module
    model: nn.Module  # what computes: the master, or its copy in the run's dtype
    optimizer: torch.optim.AdamW
    reference: None = None

    def sync_compute_weights(self) -> None:
        copy_weights(self.master, self.model)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How many steps, and how many between two rows of the log and between two checkpoints."""

    steps: int
    log_every: int
    save_every: int


def train(
    model: M,
    config: Optimizer,
    context: StageContext,
    rhythm: Rhythm,
    source: Callable[[int], Iterable[Sequence[B]]],
    loss: Callable[[M, B], Tensor],
    measure: Callable[[M], dict[str, float]] = lambda model: {},
) -> dict[str, float]:
    """Train `model`, which is fp32, in place from its last checkpoint, or from the start; returns `measure` of it.

    `source(n)` gives the batches of step n (counted from 0) and of all later ones; `loss` is a sum over `count`.
    """
    measure = torch.no_grad()(measure)
    state = Training(model, compute_copy(model, torch_dtype(context.dtype)), make_optimizer(model, config))
    log = WatchdogLog(context.dir / "metrics.jsonl", context.name, context.dtype)
    start, tokens, measured = time.monotonic(), 0, {}
    with (
        Checkpoints(context.dir / "checkpoints", log.files) as checkpoints,
        progress(context.name, rhythm.steps) as bar,
        finishing_steps() as asked_to_stop,
    ):
        done = (checkpoints.restore(state) or {"step": 0})["step"]
        bar.advance(done)
        steps = Waited(source(done))
        for step, batches in zip(range(done + 1, rhythm.steps + 1), steps, strict=False):
            rate = learning_rate(config, step - 1, rhythm.steps)
            mean_loss = _backward(state.model, batches, loss)
            norm = update(state.master, state.optimizer, rate, config.max_grad_norm)
            state.sync_compute_weights()
            tokens += sum(batch.tokens for batch in batches)
            row = {"step": step, "loss": mean_loss, "learning_rate": rate, "grad_norm": norm}
            row["skipped"] = float(not math.isfinite(norm))
            row["tokens_per_second"] = tokens / (time.monotonic() - start)
            measured = measure(state.model) if _is_due(step, rhythm.steps) else {}
            bar.advance(loss=mean_loss, **measured)
            if measured or row["skipped"] or step % rhythm.log_every == 0 or step == rhythm.steps:
                log.append(row | measured | steps.take_times())
            stop = asked_to_stop()
            if stop or step % rhythm.save_every == 0:
                checkpoints.save(state, {"step": step})
            if stop:
                break
    return measured or measure(state.model)


def _backward(model: M, batches: Sequence[B], loss: Callable[[M, B], Tensor]) -> float:
    """Gradients of the mean over all that the batches count, which is returned: how they are cut changes nothing."""
    count = sum(batch.count for batch in batches)
    total = 0.0
    for batch in batches:
        share = loss(model, batch) / count
        share.backward()
        total += share.item()
    return total


def _is_due(step: int, steps: int) -> bool:
    """Evenly MEASUREMENTS times, the last time after the last step."""
    return step * MEASUREMENTS // steps > (step - 1) * MEASUREMENTS // steps


class Waited(Generic[T]):
    """An iterator that knows for how long its items were waited for. The first is not counted: it sets things up."""

    def __init__(self, items: Iterable[T]) -> None:
        self.items = iter(items)
        self.waited, self.since = 0.0, 0.0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        start = time.monotonic()
        item = next(self.items)
        if self.since:
            self.waited += time.monotonic() - start
        else:
            self.since = time.monotonic()
        return item

    def take_times(self) -> dict[str, float]:
        """Seconds since this was last asked: waited for items, and in all."""
        now = time.monotonic()
        times = {"time/data": self.waited, "time/step": now - self.since}
        self.waited, self.since = 0.0, now
        return times

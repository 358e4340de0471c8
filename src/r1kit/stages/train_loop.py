"""The training loop of the stages without rollouts: checkpoints, learning rate, gradient, log and progress.

    source(done) -> the micro-batches of each step -> loss -> mean over the step -> AdamW

What a step trains on is a function of the stage's seed and the step, so a run resumed from a checkpoint gives identical
results.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from r1kit.config import Published, Training
from r1kit.console import progress
from r1kit.interrupt import StepAbandoned, defer_signals
from r1kit.learn.checkpoint import Checkpoints
from r1kit.learn.lora import has_adapters
from r1kit.learn.memory import offloads
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.learn.precision import compute_copy, copy_weights, master_copy
from r1kit.learn.sharded import fill, flush, idle_pass, is_split, release, split
from r1kit.learn.world import ALONE, World, shares
from r1kit.metrics.best import Best
from r1kit.metrics.watchdog_log import WatchdogLog
from r1kit.model.dtypes import torch_dtype
from r1kit.stages.context import Amended, StageContext

EVALUATIONS = 10  # per stage, evenly spaced; the last is after the last step


class MicroBatch(Protocol):
    """The input of one backward pass."""

    @property
    def count(self) -> int:
        """Tokens with a loss, or pairs. The loss is a mean over those of the complete step."""

    @property
    def tokens(self) -> int:
        """All tokens of the forward pass."""


T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
B = TypeVar("B", bound=MicroBatch)


@dataclass(slots=True)
class TrainState(Generic[M]):
    """The model and optimizer in training: a `learn.checkpoint.TrainingState`."""

    master: M  # fp32
    model: M  # compute weights: the master, or its copy in the run's dtype
    optimizer: torch.optim.Optimizer
    world: World
    reference: None = None
    critic: None = None

    def sync_compute_weights(self) -> None:
        """Copy the master weights to the compute weights, rounded to their dtype."""
        copy_weights(self.master, self.model)

    def evaluate(self, evaluate: Callable[[M], dict[str, float]]) -> dict[str, float]:
        """Return what the first rank measures. All take part if none has all weights."""
        if not is_split(self.model):
            return self.world.from_first(partial(evaluate, self.model))
        measured = evaluate(self.model)
        release(self.model)
        return self.world.from_first(lambda: measured)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The number of steps, and how many steps lie between rows of the log and between checkpoints."""

    steps: int
    log_every: int
    save_every: int


def train(
    model: M,
    config: Training,
    context: StageContext,
    schedule: Schedule,
    source: Callable[[int], Iterable[Sequence[B]]],
    loss: Callable[[M, B], Tensor],
    evaluate: Callable[[M], dict[str, float]] = lambda model: {},
) -> dict[str, float]:
    """Train a model in place, from its last checkpoint or from the start. Return the evaluation of the result.

    Several ranks share the micro-batches of each step. Their weights end in the run's dtype.

    Args:
        model: The model with fp32 weights, or with adapters.
        config: The optimizer settings, and where its state is held.
        context: The stage.
        schedule: The number of steps and the intervals.
        source: Called with the number of steps done; yields the micro-batches of each step after these, the same on
            all ranks.
        loss: Returns the sum of the losses of a micro-batch, over its `count`.
        evaluate: Returns metrics on held-out data. Called without gradients, EVALUATIONS times.
    """
    evaluate = torch.no_grad()(evaluate)
    world = context.world
    state = _initial_state(model, config, context)
    first = context.since.step
    log = WatchdogLog(context.files.metrics, context.name, context.dtype, writes=world.is_first, since=first)
    start, tokens = time.monotonic(), 0
    evaluation: dict[str, float] = {}
    best = Best(config.best_metric if isinstance(config, Published) else None)
    with Checkpoints(context.files.checkpoints, log.files, world, first) as checkpoints:
        saves = _Saves(checkpoints, state, best)
        done = saves.restore(context.since)
        steps = TimedIterator(source(done), world)
        with progress(context.name, schedule.steps) as bar, defer_signals() as should_stop:
            bar.advance(done)
            with suppress(StepAbandoned):
                while done < schedule.steps and not world.should_stop(should_stop()):
                    if (batches := next(steps, None)) is None:
                        break
                    rate = learning_rate(config, done, schedule.steps)
                    row = _step(state, batches, loss, rate, config.max_grad_norm)
                    done += 1
                    tokens += sum(batch.tokens for batch in batches)
                    row = {"step": done, **row, "tokens_per_second": tokens / (time.monotonic() - start)}
                    evaluation = state.evaluate(evaluate) if _is_evaluated(done, schedule.steps) else {}
                    bar.advance(loss=row["loss"], **evaluation)
                    if evaluation or row["skipped"] or done % schedule.log_every == 0 or done == schedule.steps:
                        log.append(row | evaluation | steps.take_times())
                    saves.save(done, evaluation, is_due=done % schedule.save_every == 0)
            saves.save(done, {}, is_due=world.should_stop(should_stop()))
    if (chosen := best.instead_of(done)) is not None:
        checkpoints.load_model(state, chosen)
        evaluation = {}
    evaluation = evaluation or state.evaluate(evaluate)
    if is_split(state.model):
        fill(model, state.model, torch_dtype(context.dtype))
    return {**best.summary(), **evaluation}


@dataclass(slots=True)
class _Saves(Generic[M]):
    """The checkpoints of a stage, and its best evaluation, whose checkpoint is kept."""

    checkpoints: Checkpoints
    state: TrainState[M]
    best: Best
    newest: int = 0  # the step of the newest checkpoint

    def restore(self, since: Amended) -> int:
        """Restore the newest checkpoint. Return its step."""
        progress = self.checkpoints.restore(self.state) or {"step": 0}
        self.newest = progress["step"]
        if self.newest > since.step or since.is_comparable:
            self.best.restore(progress)
        return self.newest

    def save(self, step: int, evaluation: Mapping[str, float], is_due: bool) -> None:
        """Save a checkpoint if one is due, or if the evaluation is the best."""
        has_learned = bool(self.state.optimizer.state)  # else there is nothing to save
        is_best = has_learned and self.best.offer(step, evaluation)
        if (is_best or is_due) and self.newest != step:
            self.checkpoints.save(self.state, {"step": step, **self.best.pack()}, is_needed=is_best)
            self.newest = step


def _initial_state(model: M, config: Training, context: StageContext) -> TrainState[M]:
    dtype, offload, world = torch_dtype(context.dtype), offloads(config, context.device), context.world
    if world.size == 1:
        master, compute = model, compute_copy(model, dtype, offload)
    elif config.shard_weights:
        master = compute = split(model, world, dtype)
    else:
        master = master_copy(model, offload, world)
        compute = model if has_adapters(model) else model.to(dtype)
    return TrainState(master, compute, make_optimizer(master, config), world)


def _step(
    state: TrainState[M], batches: Sequence[B], loss: Callable[[M, B], Tensor], rate: float, max_norm: float
) -> dict[str, Any]:
    """Update the weights once and return the metrics of the update."""
    mean_loss = _backward(state.model, batches, loss, state.world)
    flush(state.model, state.master, state.world)
    norm = update(state.master, state.optimizer, rate, max_norm)
    state.sync_compute_weights()
    return {"loss": mean_loss, "learning_rate": rate, "grad_norm": norm, "skipped": float(not math.isfinite(norm))}


def _backward(model: M, batches: Sequence[B], loss: Callable[[M, B], Tensor], world: World) -> float:
    """Accumulate the gradient of the mean loss over this rank's micro-batches; return the mean loss over all of them.

    How a step is split into micro-batches does not change it.
    """
    count = sum(batch.count for batch in batches)
    total = 0.0
    dealt = shares([batch.tokens for batch in batches], world.size)
    for index in dealt[world.rank]:
        share = loss(model, batches[index]) / count
        torch.autograd.backward(share)
        total += share.item()
    if is_split(model):
        for _ in range(max(map(len, dealt)) - len(dealt[world.rank])):
            idle_pass(model)
    return sum(world.gather(total))


def _is_evaluated(step: int, steps: int) -> bool:
    return step * EVALUATIONS // steps > (step - 1) * EVALUATIONS // steps


class TimedIterator(Generic[T]):
    """Measure how long an iterator takes to produce items. The first item is left out: it includes the set-up."""

    def __init__(self, items: Iterable[T], world: World = ALONE) -> None:
        self.items, self.world = iter(items), world
        self.waited, self.since = 0.0, 0.0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        start = time.monotonic()
        with self.world.abandonable():
            item = next(self.items)
        if self.since:
            self.waited += time.monotonic() - start
        else:
            self.since = time.monotonic()
        return item

    def take_times(self) -> dict[str, float]:
        """Return the seconds since the last call: `time/data` for producing items, `time/step` in all."""
        now = time.monotonic()
        times = {"time/data": self.waited, "time/step": now - self.since}
        self.waited, self.since = 0.0, now
        return times

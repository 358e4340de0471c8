"""Sample and grade the next rollout in a thread, while the learner updates on the present one.

    trainer   | rollout 0 | updates on 0 | updates on 1 | updates on 2 ...
    thread                | rollout 1    | rollout 2    | rollout 3    ...

The thread samples with a copy of the weights from before the updates beside it. Its completions therefore lag
`steps_per_rollout` updates behind the weights that they train first; their log-probabilities are those of the copy, so
the importance ratio stays correct.

A rollout depends on these weights, the seed and the step only, never on how long anything takes. A checkpoint holds the
copy while its rollout has not been trained on, and a resumed stage samples that rollout again.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch

from r1kit.engine.base import Engine
from r1kit.learn.lora import trained_weights
from r1kit.model.policy import Policy
from r1kit.rollout.group import Rollout
from r1kit.stages.rl_rollout import Cancelled


@dataclass(frozen=True, slots=True)
class Start:
    """Where a rollout begins, and which weights sample it."""

    step: int  # updates done before the first that trains on it
    cursor: int  # prompts drawn in earlier rollouts
    version: int  # updates done by the weights


class RolloutAhead:
    """At most one rollout that is being sampled, or waits for the trainer. Leave its `with` block to end the thread."""

    def __init__(self, engine: Engine, collect: Callable[[Start, Callable[[], None]], Rollout]) -> None:
        """Prepare the thread.

        Args:
            engine: The engine that `collect` samples with. After `wait`, the trainer may use it too.
            collect: Returns the rollout. Its second argument is to be called now and then: it raises Cancelled.
        """
        self.engine, self.collect = engine, collect
        # The learner, which computes for longer, keeps all threads. Shares that follow the load would change rounding.
        threads = max(1, torch.get_num_threads() // 2)
        self._executor = ThreadPoolExecutor(1, "rollout", torch.set_num_threads, (threads,))
        self._cancelled = threading.Event()
        self._pending: tuple[Start, dict[str, torch.Tensor], Future[Rollout]] | None = None
        self._waited = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancelled.set()
        self._executor.shutdown()

    @property
    def is_pending(self) -> bool:
        """Whether a rollout has been started and not taken."""
        return self._pending is not None

    def start(self, model: Policy, start: Start, weights: Mapping[str, torch.Tensor] | None = None) -> None:
        """Start a rollout with a copy of the model.

        Args:
            model: The policy.
            start: Where the rollout begins.
            weights: The trained weights of the copy, from a checkpoint; the model's present ones by default.
        """
        names = [*trained_weights(model)]
        frozen = {id(weight): weight for weight in model.parameters() if not weight.requires_grad}
        copied = copy.deepcopy(model, frozen).requires_grad_(False)
        trained: dict[str, torch.Tensor] = {name: copied.get_parameter(name) for name in names}
        for name, weight in (weights or {}).items():
            trained[name].copy_(weight)
        ready = None
        if copied.device.type == "cuda":
            ready = torch.Event("cuda")
            ready.record()
        self.engine.load_weights(copied, start.version)
        self._pending = start, trained, self._executor.submit(self._run, start, ready)

    def _run(self, start: Start, ready: torch.Event | None) -> Rollout:
        if ready is None:
            return self.collect(start, self._check)
        # On the learner's stream, every token would wait for its work.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        stream.wait_event(ready)
        with torch.cuda.stream(stream):
            return self.collect(start, self._check)

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def wait(self) -> None:
        """Wait until no rollout is being sampled or graded, so that the engine is free."""
        if self._pending is not None:
            begun = time.monotonic()
            wait([self._pending[2]])
            self._waited += time.monotonic() - begun

    def take(self) -> Rollout:
        """Return the rollout, and how long the trainer waited for it. Raise what was raised in the thread."""
        assert self._pending is not None
        self.wait()
        rollout = self._pending[2].result()
        rollout.seconds.waited, self._waited, self._pending = self._waited, 0.0, None
        return rollout

    def pack(self) -> dict[str, Any] | None:
        """Return what a checkpoint holds of the rollout: where it begins, and its weights. None if there is none."""
        if self._pending is None:
            return None
        start, weights, _ = self._pending
        return {"step": start.step, "cursor": start.cursor, "version": start.version, "weights": dict(weights)}

    def restore(self, model: Policy, packed: Mapping[str, Any]) -> None:
        """Start the rollout again that `pack` packed."""
        start = Start(packed["step"], packed["cursor"], packed["version"])
        self.start(model, start, packed["weights"])

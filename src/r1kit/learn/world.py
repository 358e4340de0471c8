"""The processes (ranks) that train one stage together, and what they agree on.

torchrun starts the processes and tells each its rank. Every rank runs the same stage and meets the others in the
methods below, which all ranks must call in the same order. Imports torch only where there are several ranks.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from socket import gethostname
from typing import TYPE_CHECKING, Any, TypeVar

from r1kit.errors import UserError
from r1kit.interrupt import StepAbandoned, abandonable, announce_if, request_stop

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)
# How long a rank waits for another one that is alive, such as for its last rollout. A dead one is noticed immediately.
TIMEOUT = timedelta(hours=12)
LOST_CONNECTION = re.compile(r"connection (closed|reset|refused)|broken pipe|socket closed|NCCL", re.IGNORECASE)
LOST = "a process of this run has ended, so this one ends too"
CONTINUE = ". Run the same command again to continue from the last checkpoint"
LAUNCHER = "R1KIT_LAUNCHER"  # set in processes that `r1kit run` starts, and starts again when one is lost


class LostRank(UserError):
    """Another rank has ended: with an error, which it reports, or killed."""


@dataclass(frozen=True, slots=True)
class World:
    """This process's rank, from 0, among `size` ranks."""

    rank: int = 0
    size: int = 1
    group: Any = None  # torch's process group; None for the default one

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the only one that writes files and messages."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, self.group)
        return values

    def aside(self) -> World:
        """Return the same ranks for a thread that meets its like on other ranks while the main threads meet."""
        if self.size == 1:
            return self
        import torch.distributed as dist

        return replace(self, group=dist.new_group(backend="gloo"))

    def from_first(self, compute: Callable[[], T]) -> T:
        """Return what rank 0 computes."""
        value = compute() if self.is_first else None
        if self.size == 1:
            return value  # type: ignore[return-value]
        import torch.distributed as dist

        values = [value]
        dist.broadcast_object_list(values)
        return values[0]  # type: ignore[return-value]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on some rank."""
        if self.size == 1:
            return flag
        import torch
        import torch.distributed as dist

        count = torch.tensor(int(flag))
        dist.all_reduce(count, group=self.group)
        return bool(count)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks, in its memory."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor, group=self.group)
        return tensor

    def should_stop(self, signalled: bool) -> bool:
        """Return whether a rank got a signal; then all of them stop as if they had got it."""
        stops = self.any(signalled)
        if stops:
            request_stop()
        return stops

    @contextmanager
    def raises_together(self, kind: type[E]) -> Iterator[None]:
        """Raise `kind` on all ranks, at the end of the block, if one of them raises it. The block meets no others."""
        raised: E | None = None
        try:
            yield
        except kind as error:
            raised = error
        if self.any(raised is not None):
            raise raised or kind()

    @contextmanager
    def abandonable(self) -> Iterator[None]:
        """Do as `interrupt.abandonable`, on all ranks: a signal to one of them raises StepAbandoned on all."""
        try:
            with self.raises_together(StepAbandoned), abandonable():
                yield
        except StepAbandoned:
            request_stop()
            raise

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Run the block on rank 0, then on all others, which find the files that rank 0 has written."""
        if not self.is_first:
            self.any(False)
        yield
        if self.is_first:
            self.any(False)

    def share(self, costs: Sequence[float]) -> list[int]:
        """Return the indices of the work that this rank does, in order; see `shares`."""
        return shares(costs, self.size)[self.rank]


ALONE = World()


def shares(costs: Sequence[float], size: int) -> list[list[int]]:
    """Deal pieces of work to `size` ranks, so that their sums of costs are similar and few ranks have none.

    The costliest first, each to the rank with the least so far (Graham 1969): at most 4/3 of the best makespan.
    """
    sums, dealt = [0.0] * size, [list[int]() for _ in range(size)]
    for index in sorted(range(len(costs)), key=lambda i: -costs[i]):
        rank = min(range(size), key=lambda rank: (sums[rank], len(dealt[rank])))
        sums[rank] += costs[index]
        dealt[rank].append(index)
    return [sorted(indices) for indices in dealt]


def launched_rank() -> int | None:
    """Return the rank that torchrun gave this process; None if it was started alone."""
    return int(os.environ["RANK"]) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None


def launched_processes() -> tuple[int, int]:
    """Return how many processes torchrun started, in all and on this machine."""
    if launched_rank() is None:
        return 1, 1
    total = os.environ["WORLD_SIZE"]
    return int(total), int(os.environ.get("LOCAL_WORLD_SIZE", total))


def require_gpus(device: str) -> None:
    """Raise UserError if processes of this machine would share a GPU."""
    _, processes = launched_processes()
    if device != "cuda" or processes == 1:
        return
    import torch

    if processes > (gpus := torch.cuda.device_count()):
        raise UserError(
            f"{processes} processes on a machine with {gpus} GPUs: each needs its own; set processes = {gpus}, or "
            'device = "cpu"'
        )


@contextmanager
def open_world() -> Iterator[World]:
    """Meet the processes that torchrun started, and part from them at the end; ALONE without torchrun.

    After an error nothing is closed: the end of this process ends the others, which would wait for it.
    """
    if launched_rank() is None:
        yield ALONE
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(rendezvous("env://"))
    # A restart in place uses the same store, where gloo would find the addresses of the processes before.
    attempt = PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group(backend, store=attempt, rank=rank, world_size=size, timeout=TIMEOUT)
    with lost_ranks_named():
        world = World(rank, size)
        pids = [pid for host, pid in world.gather((gethostname(), os.getpid())) if host == gethostname()]
        announce_if(lambda: world.is_first and all(map(_runs, pids)))  # torchrun signals those that a lost rank leaves
        yield world
        close_world()


def _runs(pid: int) -> bool:
    """Return whether a process of this machine has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def close_world() -> None:
    """Part from the other ranks. What still holds tensors of theirs is collected first, or the exit may abort."""
    import torch.distributed as dist

    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@contextmanager
def lost_ranks_named() -> Iterator[None]:
    """Raise LostRank where a collective fails because another rank has ended."""
    try:
        yield
    except RuntimeError as error:
        if LOST_CONNECTION.search(str(error)) is None:
            raise
        raise LostRank(LOST if LAUNCHER in os.environ else LOST + CONTINUE) from error

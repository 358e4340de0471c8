"""Do slow work in threads while the caller goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


def in_background(work: Callable[[A], R], arguments: Iterable[A], threads: int) -> Iterator[R]:
    """Yield the result of `work` for every argument, as soon as it is there, while arguments are still being produced.

    Args:
        work: Called with each argument. An exception in it is raised here.
        arguments: Taken in the calling thread.
        threads: Calls at the same time; 0 calls `work` in the calling thread.
    """
    if not threads:
        yield from map(work, arguments)
        return
    executor = ThreadPoolExecutor(threads, "background")
    pending: set[Future[R]] = set()
    try:
        for argument in arguments:
            pending.add(executor.submit(work, argument))
            done, pending = wait(pending, timeout=0, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BaseException as error:  # ^C must not wait for an endpoint; the end of the caller's loop may
        executor.shutdown(wait=isinstance(error, GeneratorExit), cancel_futures=True)
        raise
    executor.shutdown()

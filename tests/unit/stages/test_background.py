"""Work in threads while the caller goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from r1kit.stages.background import in_background


def test_results_come_while_arguments_are_produced() -> None:
    seen: list[int] = []
    finished = threading.Event()

    def work(number: int) -> int:
        finished.set()
        return -number

    def arguments() -> Iterator[int]:
        yield 1
        assert finished.wait(10), "the work began before the next argument was produced"
        yield 2

    for result in in_background(work, arguments(), threads=1):
        seen.append(result)
    assert sorted(seen) == [-2, -1]


def test_calls_run_at_the_same_time() -> None:
    together = threading.Barrier(4)  # breaks unless four calls wait at once
    assert len(list(in_background(lambda _: together.wait(10), range(4), threads=4))) == 4


def test_without_threads_the_caller_does_the_work() -> None:
    here = threading.current_thread()
    assert list(in_background(lambda _: threading.current_thread(), range(2), threads=0)) == [here, here]


def test_first_error_is_raised_and_the_rest_dropped() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_background(lambda number: 1 // number, range(100), threads=2))

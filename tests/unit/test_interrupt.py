"""^C and SIGTERM take effect at the end of a step, or at once when repeated."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from r1kit import interrupt
from r1kit.interrupt import announce_if, defer_signals, request_stop, signal_handlers


def test_signal_outside_a_step_interrupts_at_once() -> None:
    with signal_handlers(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def train(signals: list[int]) -> Iterator[bool]:
    """Yield `should_stop()` before the first signal and after each."""
    with signal_handlers(), defer_signals() as should_stop:
        yield should_stop()
        for number in signals:
            os.kill(os.getpid(), number)
            yield should_stop()


def test_signal_in_a_step_is_deferred_to_its_end() -> None:
    steps = train([signal.SIGTERM])
    assert [next(steps), next(steps)] == [False, True], "the step continued after the signal"
    with pytest.raises(KeyboardInterrupt):
        next(steps)


@pytest.mark.parametrize("is_true", [True, False])
def test_the_end_of_a_step_is_announced_only_where_it_can_come(
    is_true: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupt, "_announces", None)  # restored after the test
    announce_if(lambda: is_true)
    with pytest.raises(KeyboardInterrupt):
        [*train([signal.SIGTERM])]
    assert ("stopping after this step" in capfd.readouterr().err) == is_true


def test_second_signal_in_a_step_interrupts_at_once() -> None:
    steps = train([signal.SIGINT, signal.SIGINT])
    assert [next(steps), next(steps)] == [False, True]
    with pytest.raises(KeyboardInterrupt):
        next(steps)
    assert list(steps) == [], "the step did not continue after the second signal"


def test_previous_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signal_handlers():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_stop_that_another_process_requested_ends_the_step() -> None:
    """The signal that this process gets a little later is the same one, not a second."""
    steps = train([signal.SIGTERM])
    assert not next(steps)
    request_stop()
    assert next(steps), "the step continued after the signal"
    with pytest.raises(KeyboardInterrupt):
        next(steps)

"""Handling of ^C and SIGTERM: at once, or at the end of the current training step.

The state is global because signal handlers belong to the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE = 130  # of a process that a signal ended, as shells have it
NOTICE = b"\nstopping after this step; send the signal again to stop now\n"

_in_step = False
_abandonable = False
_stop_requested = False  # by a signal to this process, or to another one of the run
_signalled = False  # this process
_announces: Callable[[], bool] | None = None  # whether this process prints NOTICE; None: always


class StepAbandoned(KeyboardInterrupt):
    """A signal ended work inside `abandonable`. What the step had changed before is valid and can be saved."""


def _handle(signum: int, frame: object) -> None:
    global _stop_requested, _signalled
    if not _in_step or _signalled:
        raise KeyboardInterrupt
    _signalled = True
    if _stop_requested:
        return
    _stop_requested = True
    if _abandonable:
        raise StepAbandoned
    if _announces is None or _announces():
        os.write(2, NOTICE)  # the signal may have interrupted print(), which is not reentrant


def request_stop() -> None:
    """Stop at the end of the step, as after a signal: another process of the run got one."""
    global _stop_requested
    _stop_requested = True


def announce_if(is_true: Callable[[], bool]) -> None:
    """Tell the person at the terminal that the step will be finished only where that `is_true`."""
    global _announces
    _announces = is_true


@contextmanager
def signal_handlers() -> Iterator[None]:
    """Raise KeyboardInterrupt on ^C and SIGTERM; inside `defer_signals`, at the end of the step.

    Does nothing outside the main thread, the only one that receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, _handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def defer_signals() -> Iterator[Callable[[], bool]]:
    """Defer signals to the end of the training step; yields `should_stop()`.

    The training loop calls `should_stop()` after each step. When it returns True, the loop saves a checkpoint and
    ends, and KeyboardInterrupt follows on exit. A second signal raises KeyboardInterrupt at once.
    """
    global _in_step, _stop_requested, _signalled
    _in_step, _stop_requested, _signalled = True, False, False
    try:
        yield lambda: _stop_requested
    finally:
        _in_step = False
    if _stop_requested:
        raise KeyboardInterrupt


@contextmanager
def abandonable() -> Iterator[None]:
    """Inside `defer_signals`, do work that is repeated exactly on resume: a signal raises StepAbandoned at once.

    So does a signal that arrived earlier in the step. The work must not change what a checkpoint holds.
    """
    global _abandonable
    _abandonable = True
    try:
        if _in_step and _stop_requested:
            raise StepAbandoned
        yield
    finally:
        _abandonable = False


def exit_interrupted() -> NoReturn:
    """End this process with exit code 130; further signals change nothing.

    After `sys.exit`, CPython may still kill itself by SIGINT: it does so if a KeyboardInterrupt passed through code
    compiled from a string, which every import of a dataclass runs.
    """
    exit_now(EXIT_CODE)


def exit_now(code: int) -> NoReturn:
    """End this process at once, without what runs at exit; further signals change nothing."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader has closed the pipe
            stream.flush()
    os._exit(code)

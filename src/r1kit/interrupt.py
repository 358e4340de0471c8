"""^C and SIGTERM, heeded when it suits: at once, or when the training step under way is done and saved.

Signals belong to the process, so what is known of them does too.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOTICE = b"\nstopping after this step; the same signal again stops at once\n"

_step_under_way = False
_asked = False  # to stop, during a step that may be finished first


def _heed(signum: int, frame: object) -> None:
    global _asked
    if not _step_under_way or _asked:
        raise KeyboardInterrupt
    _asked = True
    os.write(2, NOTICE)  # print may be what was interrupted


@contextmanager
def heeded() -> Iterator[None]:
    """While inside, ^C and SIGTERM (a scheduler's notice) raise KeyboardInterrupt, but wait for `finishing_steps`."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    before = {number: signal.signal(number, _heed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def finishing_steps() -> Iterator[Callable[[], bool]]:
    """Training that is not cut off within a step: asks what this gives after each, and if True saves and ends its loop.

    KeyboardInterrupt follows then; it comes at once when somebody asks twice.
    """
    global _step_under_way, _asked
    _step_under_way, _asked = True, False
    try:
        yield lambda: _asked
    finally:
        _step_under_way = False
    if _asked:
        raise KeyboardInterrupt

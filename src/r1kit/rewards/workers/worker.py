"""A grading process: requests in on stdin, answers out on stdout, one line of JSON each. Started by rewards.pool.

    python -m r1kit.rewards.workers.worker MODULE:FUNCTION SETTINGS

The first line out says that it is ready: a busy machine may take long to start it, which no request should pay for.
Imports no torch. What a user's reward prints goes to stderr. It runs at low priority, and ends with its parent.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from typing import BinaryIO

NICENESS = 10  # the learner's threads go first
GRACE = 5.0  # seconds that a request may still take once the parent is gone


def main(target: str, settings: str) -> None:
    from r1kit.rewards.judge.client import Endpoint
    from r1kit.rewards.services import Settings, configure

    requests, answers = _own_pipes()
    os.nice(NICENESS)
    given = json.loads(settings)
    judge = given.pop("judge")
    configure(Settings(**given, judge=judge and Endpoint(**judge)))
    module, _, function = target.partition(":")
    work = getattr(importlib.import_module(module), function)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()
    answers.write(b"ready\n")
    answers.flush()
    while line := lines.get():
        answers.write(json.dumps(work(json.loads(line))).encode() + b"\n")
        answers.flush()


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, moved to where nothing else reads or prints."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _read(requests: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    """Hand on requests until the parent closes the pipe, which its death does too; then do not hang on."""
    for line in requests:
        lines.put(line)
    lines.put(b"")
    time.sleep(GRACE)
    os.killpg(os.getpgrp(), signal.SIGKILL)  # its own group: the sandbox's processes with it


if __name__ == "__main__":
    main(*sys.argv[1:])

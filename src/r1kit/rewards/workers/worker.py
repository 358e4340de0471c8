"""A worker process: reads requests from stdin and writes answers to stdout, one line of JSON each.

    python -m r1kit.rewards.workers.worker MODULE:FUNCTION SETTINGS

`workers.processes` starts it. Its first line of output is "ready", so that no request's timeout includes the start.
A line that begins with "#" says what the process is about to do: the parent names it when the process hangs or dies.
The process imports no torch, runs at low priority, and ends with its parent. Output of a user's reward goes to stderr.
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

NICENESS = 10  # the learner's threads have priority
GRACE_SECONDS = 5.0  # for the current request after the parent has ended


def main(target: str, settings: str) -> None:
    """Answer requests with the function `target` until the parent closes the pipe."""
    from r1kit import console
    from r1kit.rewards.services import Settings, configure, on_activity

    console.HEARTBEAT_SECONDS = threading.TIMEOUT_MAX  # the parent reports what this process does
    requests, answers = _take_pipes()

    def write(line: str) -> None:
        answers.write(line.encode() + b"\n")
        answers.flush()

    os.nice(NICENESS)
    configure(Settings.from_dict(json.loads(settings)))
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, lines), daemon=True).start()
    write("ready")
    on_activity(lambda activity: write("#" + json.dumps(activity)))
    while line := lines.get():
        write(json.dumps(function(json.loads(line))))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return stdin and stdout under new descriptors, so that a reward's print or input() cannot reach them."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers


def _read(requests: BinaryIO, lines: queue.SimpleQueue[bytes]) -> None:
    """Queue requests until the parent closes the pipe or dies, then end this process even if it hangs."""
    for line in requests:
        lines.put(line)
    lines.put(b"")
    time.sleep(GRACE_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)  # the process group includes the sandbox's processes


if __name__ == "__main__":
    main(*sys.argv[1:])

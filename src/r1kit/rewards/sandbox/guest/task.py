"""Runs one task in a candidate's process of the tiers without wasm: reads it from a socket and replies line by line.

channel.py is the host's side.
"""

from __future__ import annotations

import json
import os

from r1kit.rewards.sandbox.guest import cpp
from r1kit.rewards.sandbox.guest.runner import Program, prepare
from r1kit.rewards.sandbox.wire import OUT_OF_MEMORY, READY

CHUNK = 1 << 16
read, write, leave = os.read, os.write, os._exit  # the originals: `prepare` replaces these functions in `os`


def run_task(descriptor: int) -> None:
    """Run the task that arrives on `descriptor`, reply there, and end this process."""
    try:
        write(descriptor, READY + b"\n")
        chunks = []
        while chunk := read(descriptor, CHUNK):
            chunks.append(chunk)
        task = json.loads(b"".join(chunks))
        if task["mode"] in ("compile", "library"):
            cpp.run_task(descriptor, task)
        prepare()
        program = Program(task["mode"], task["source"], task["output_bytes"])
        for text in task["inputs"]:
            reply = memoryview(program.answer(text).encode() + b"\n")
            while reply:
                reply = reply[write(descriptor, reply) :]
        leave(0)
    except MemoryError:
        leave(OUT_OF_MEMORY)
    finally:
        leave(1)

"""C++ inside a candidate's process: compiling it, and running what came of it as a library whose `main` is called.

So a C++ program is confined exactly as a Python one is, which can call machine code of its own through ctypes too.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any, NoReturn

from r1kit.rewards.sandbox import codec

COMPILER = "g++"
# Its own functions before those of the same name that the interpreter holds.
OPTIONS = "-x c++ -std=c++20 -O2 -w -fPIC -shared -Wl,-Bsymbolic -fmax-errors=3".split()
LONGEST = 120.0  # seconds, a last resort: the limit is of processor time
OBJECT, INPUT, OUTPUT = "/tmp/program.so", "/tmp/input", "/tmp/output"


def answer(channel: int, task: Mapping[str, Any]) -> NoReturn:
    """Reply on `channel` to the one input of a task, and end this process."""
    if task["mode"] == "library":
        _call_main(channel, task)
    _send(channel, _compiled(task["source"]))


def _compiled(source: str) -> dict[str, Any]:
    """The shared library that g++ makes of a program, in base64; or what it says."""
    try:
        done = subprocess.run(
            [COMPILER, *OPTIONS, "-o", OBJECT, "-"],
            input=source.encode("utf-8", "surrogateescape"),
            capture_output=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": "/tmp", "LC_ALL": "C"},
            timeout=LONGEST,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"status": "error", "detail": f"{COMPILER}: {error}"}
    if done.returncode or not os.path.isfile(OBJECT):
        said = done.stderr.decode("utf-8", "replace").splitlines()
        told = next((line for line in said if "error" in line), f"{COMPILER}: exit code {done.returncode}")
        return {"status": "error", "detail": f"CompileError: {told}"}
    with open(OBJECT, "rb") as file:
        return {"status": "ok", "value": codec.encode(base64.b64encode(file.read()).decode())}


def _call_main(channel: int, task: Mapping[str, Any]) -> NoReturn:
    """`main` of the library in the task's source, with the input and what it prints as files."""
    for path, data in (
        (OBJECT, base64.b64decode(task["source"])),
        (INPUT, task["inputs"][0].encode("utf-8", "surrogatepass")),
    ):
        with open(path, "wb") as file:
            file.write(data)
    reply_to = os.dup(channel)
    os.dup2(os.open(INPUT, os.O_RDONLY), 0)
    os.dup2(os.open(OUTPUT, os.O_RDWR | os.O_CREAT), 1)
    libc = ctypes.CDLL(None)

    @ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p)
    def ended(code: int, _: object) -> None:
        """Comes last at exit, wherever that is called: after the program's own destructors."""
        libc.fflush(None)
        _send(reply_to, _printed(code, task["output_bytes"]))

    libc.on_exit(ended, None)
    program = ctypes.CDLL(OBJECT)
    libc.exit(program.main(1, (ctypes.c_char_p * 2)(b"main", None)))
    os._exit(1)


def _printed(code: int, room: int) -> dict[str, Any]:
    if os.path.getsize(OUTPUT) > room:
        return {"status": "over_limit", "detail": "output"}
    if code:
        return {"status": "error", "detail": f"exit code {code}"}
    with open(OUTPUT, "rb") as file:
        return {"status": "ok", "value": codec.encode(file.read().decode("utf-8", "replace"))}


def _send(channel: int, reply: Mapping[str, Any]) -> NoReturn:
    rest = memoryview(json.dumps(reply).encode() + b"\n")
    while rest:
        rest = rest[os.write(channel, rest) :]
    os._exit(0)

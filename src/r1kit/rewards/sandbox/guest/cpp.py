"""C++ inside a candidate's process: compiles a program, or loads the compiled library and calls its `main`.

A C++ program is confined exactly as a Python program, which can run machine code of its own through ctypes too.
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
# -Bsymbolic: the library's own functions take precedence over functions of the same name in the interpreter.
OPTIONS = "-x c++ -std=c++20 -O2 -w -fPIC -shared -Wl,-Bsymbolic -fmax-errors=3".split()
TIMEOUT_SECONDS = 120.0  # a last resort: the real limit is CPU time
OBJECT, INPUT, OUTPUT = "/tmp/program.so", "/tmp/input", "/tmp/output"


def run_task(channel: int, task: Mapping[str, Any]) -> NoReturn:
    """Run a task of mode compile or library, reply on `channel`, and end this process."""
    if task["mode"] == "library":
        _call_main(channel, task)
    _send(channel, _compile(task["source"]))


def _compile(source: str) -> dict[str, Any]:
    """Return the reply with the shared library in base64, or with the compiler's first error."""
    try:
        done = subprocess.run(
            [COMPILER, *OPTIONS, "-o", OBJECT, "-"],
            input=source.encode("utf-8", "surrogateescape"),
            capture_output=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": "/tmp", "LC_ALL": "C"},
            timeout=TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"status": "error", "detail": f"{COMPILER}: {error}"}
    if done.returncode or not os.path.isfile(OBJECT):
        messages = done.stderr.decode("utf-8", "replace").splitlines()
        message = next((line for line in messages if "error" in line), f"{COMPILER}: exit code {done.returncode}")
        return {"status": "error", "detail": f"CompileError: {message}"}
    with open(OBJECT, "rb") as file:
        return {"status": "ok", "value": codec.encode(base64.b64encode(file.read()).decode())}


def _call_main(channel: int, task: Mapping[str, Any]) -> NoReturn:
    """Call `main` of the library in the task's source, with files as its standard input and output."""
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

    def on_exit(code: int, _: object) -> None:
        """Reply after the program's own destructors, from wherever it calls exit."""
        libc.fflush(None)
        _send(reply_to, _reply(code, task["output_bytes"]))

    callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p)(on_exit)
    libc.on_exit(callback, None)
    program = ctypes.CDLL(OBJECT)
    libc.exit(program.main(1, (ctypes.c_char_p * 2)(b"main", None)))
    os._exit(1)


def _reply(code: int, output_bytes: int) -> dict[str, Any]:
    if os.path.getsize(OUTPUT) > output_bytes:
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

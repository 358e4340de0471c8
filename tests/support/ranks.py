"""Run a function of a test file in several processes that meet as under torchrun, one thread each."""

from __future__ import annotations

import inspect
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import r1kit

SOURCE = str(Path(r1kit.__file__).parents[1])
SUPPORT = str(Path(__file__).parent)


def environment(**changes: str) -> dict[str, str]:
    """The environment of a child process: this source tree, one thread."""
    paths = os.pathsep.join([SOURCE, SUPPORT, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **changes}


def on_ranks(size: int, function: Callable[..., Any], *args: str) -> None:
    """Call `function(world, *args)` on every rank. AssertionError with the output if one fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, __file__, inspect.getfile(function), function.__name__, *args]
    together = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        subprocess.Popen(
            command, env=environment(RANK=str(rank), **together), stderr=subprocess.STDOUT, stdout=subprocess.PIPE
        )
        for rank in range(size)
    ]
    try:
        outputs = [rank.communicate(timeout=900)[0].decode() for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    codes = [rank.returncode for rank in ranks]
    assert codes == [0] * size, f"exit codes {codes}\n" + "\n".join(outputs)


if __name__ == "__main__":
    from r1kit.learn.world import open_world

    path, name, *rest = sys.argv[1:]
    with open_world() as world:
        runpy.run_path(path)[name](world, *rest)

"""The component's main module. Every run starts from the snapshot of what is imported here."""

from __future__ import annotations

import gc
import json
import sys

import wit_world  # type: ignore[import-not-found]  # componentize-py generates it from world.wit during the build

import r1kit.rewards.sandbox.guest.preload_sympy  # noqa: F401  first, because later modules keep references to clocks
from r1kit.rewards.sandbox.guest.heap import fill_holes

fill_holes()
from r1kit.rewards.sandbox.guest import modules, offline, runner  # noqa: E402, F401  programs import modules
from r1kit.rewards.sandbox.guest.runner import Program, prepare  # noqa: E402

offline.cut_off()
runner.real_open = runner.real_read = runner.real_write = offline.absent

ROUNDS = 30  # until the interpreter has specialised all code on the way to a program and no longer writes to it
WARM_UP = (
    ("stdin", "print(input(), sum(i for i in range(9)))", "1"),
    ("call", "def f(x): return [x]", '{"function": "f", "args": [{"int": "0x1"}]}'),
)


class WitWorld(wit_world.WitWorld):  # type: ignore[misc]  # the base class has no type before the build
    """The exports of the component. Each call from the host gets a new object of this class."""

    program: Program

    def answer(self, task: str, text: str) -> str:
        """Return the reply to one input. `task` is JSON with the first input of a task and empty after that."""
        if task:
            WitWorld.program = Program(**json.loads(task))
        return WitWorld.program.answer(text)


def warm_up() -> None:
    """Run programs once before the snapshot, so that caches are full and no run frees what is left of them."""
    main = sys.modules["__main__"]
    prepare()
    for _ in range(ROUNDS):
        for mode, source, text in WARM_UP:
            WitWorld().answer(json.dumps({"mode": mode, "source": source, "output_bytes": 99}), text)
    del WitWorld.program, sys.modules["solution"]
    sys.modules["__main__"] = main


warm_up()
last_console = runner.current_console()  # a reference, because freeing its parts would write to many pages
fill_holes()
prepare()
gc.freeze()  # the collector need not visit these objects

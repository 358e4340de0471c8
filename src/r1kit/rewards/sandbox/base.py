"""What every sandbox tier is given and gives back: a task for one fresh interpreter, one outcome an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from r1kit.rewards.sandbox.codec import Value

Mode = Literal["call", "stdin", "expression", "symbolic", "tests", "gym", "compile", "library"]
Language = Literal["python", "cpp"]
Status = Literal["ok", "error", "over_limit", "infra_error"]


NO_CPP = "C++ runs in the tier namespaces only"


@dataclass(frozen=True)
class Limits:
    """What one whole Task may use. `fuel` is counted by the wasm tier, `cpu_seconds` by the native ones."""

    fuel: int = (
        20_000_000_000  # wasm instructions; 1e10 to 4e10 are about one second of the same work in native CPython
    )
    cpu_seconds: float = 2.0
    memory_bytes: int = 512 << 20
    output_bytes: int = 16 << 20  # printed and returned, all outcomes together


@dataclass(frozen=True)
class Task:
    """An untrusted program and the inputs one fresh interpreter runs it on, in order.

    call: an input is JSON {"function": "f" or "Solution().f", "args": <encoded list>, "kwargs": {name: <encoded>}};
          the source is executed once, then the calls run in the same interpreter. See guest/remote.py for what else
          can cross: `function`, arguments and results may be packed.
    stdin: an input is the whole of standard input; the source runs as __main__ anew, with fresh globals, for each.
    expression: an input is a Python expression, evaluated in the globals of the executed source.
    symbolic: an input is JSON [gold, answer]; the source is empty.
    tests: an input is JSON for guest/testing.py, trusted tests around recorded results; the source is empty.
    compile: the source is C++; for the one input, which is empty, it is made into a library, in base64.
    library: the source is such a library; its `main` runs once, with the one input as standard input.
    gym: an input is JSON for guest/gym.py, an answer to a reasoning-gym task; the source is empty. Not in wasm.
    """

    mode: Mode
    source: str
    inputs: tuple[str, ...]
    language: Language = "python"  # cpp: stdin only, in the tier `namespaces`, where there is g++


@dataclass(frozen=True)
class Outcome:
    """What one input came to. Nothing in it is evidence of anything but the candidate's own output."""

    status: Status  # infra_error: the sandbox broke, not the candidate; to be masked, never scored
    value: Value | None = (
        None  # call/expression: the value; stdin: what was printed; symbolic: bool or None (unparsable)
    )
    detail: str = ""  # exception type and message, or which limit, or what broke; short


@dataclass(frozen=True)
class Execution:
    """What a task came to: one outcome an input, in order. After over_limit the rest are over_limit too."""

    outcomes: tuple[Outcome, ...]
    fuel: int | None = None  # used, wasm only: the same on every run


def no_verdict(task: Task, why: str) -> Execution:
    """The sandbox could not do it."""
    return Execution((Outcome("infra_error", detail=why),) * len(task.inputs))


class Sandbox(Protocol):
    """One tier. Not for use from two threads at once: open one for each."""

    name: str  # "wasm" | "namespaces" | "landlock" | "none"

    def run(self, task: Task, limits: Limits) -> Execution: ...
    def close(self) -> None: ...

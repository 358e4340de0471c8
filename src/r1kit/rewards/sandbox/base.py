"""The interface of every sandbox tier: a task for one fresh interpreter in, one outcome per input out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from r1kit.rewards.sandbox.codec import Value
from r1kit.types import SandboxTier

Mode = Literal["call", "stdin", "expression", "symbolic", "tests", "gym", "compile", "library"]
Language = Literal["python", "cpp"]
Status = Literal["ok", "error", "over_limit", "infra_error"]

NO_CPP = "C++ runs in the tier namespaces only"


class InfraError(Exception):
    """The sandbox's own machinery failed, independently of the candidate."""


@dataclass(frozen=True)
class Limits:
    """Resource limits of one task. The wasm tier counts `fuel`, the native tiers count `cpu_seconds`."""

    fuel: int = 20_000_000_000  # wasm instructions; one second of native CPython is about 1e10 to 4e10 of them
    cpu_seconds: float = 2.0
    memory_bytes: int = 512 << 20
    output_bytes: int = 16 << 20  # printed and returned, over all outcomes of the task


@dataclass(frozen=True)
class Task:
    """An untrusted program and the inputs that one fresh interpreter runs it on, in order.

    What `source` and each input hold depends on `mode`:

    * call: an input is JSON {"function": "f" or "Solution().f", "args": <encoded list>, "kwargs": {name: <encoded>}}.
      The source is executed once; all calls run in the same interpreter. The function, its arguments and its result
      may be packed: see guest/remote.py.
    * stdin: an input is the complete standard input. The source runs as __main__ with fresh globals for each input.
    * expression: an input is a Python expression, evaluated in the globals of the executed source.
    * symbolic: an input is JSON [gold, answer]. The source is empty.
    * tests: an input is JSON for guest/testing.py: trusted tests and recorded results. The source is empty.
    * gym: an input is JSON for guest/gym.py: an answer to a reasoning-gym task. The source is empty. Not in wasm.
    * compile: the source is C++. The one input is empty; the value is the compiled shared library in base64.
    * library: the source is such a library. Its `main` runs once with the one input as standard input.
    """

    mode: Mode
    source: str
    inputs: tuple[str, ...]
    language: Language = "python"  # cpp: mode stdin only, in the tier `namespaces` on a machine with g++


@dataclass(frozen=True)
class Outcome:
    """The result of one input. It is evidence of the candidate's own output only."""

    status: Status  # infra_error: the sandbox failed, not the candidate; mask it, never score it
    value: Value | None = None  # stdin: the printed text; symbolic: bool or None (unreadable); else the result
    detail: str = ""  # short: exception type and message, the limit that was reached, or what failed


@dataclass(frozen=True)
class Execution:
    """The outcomes of a task, one per input, in order. After over_limit all remaining ones are over_limit."""

    outcomes: tuple[Outcome, ...]
    fuel: int | None = None  # fuel used; wasm only, identical on every run


def no_verdict(task: Task, reason: str) -> Execution:
    """Return infra_error for every input of the task."""
    return Execution((Outcome("infra_error", detail=reason),) * len(task.inputs))


class Sandbox(Protocol):
    """One opened tier. Not thread-safe: open one per thread."""

    name: SandboxTier

    @property
    def note(self) -> str:
        """What `r1kit doctor` adds to the result of the canary attacks; may be empty."""

    def run(self, task: Task, limits: Limits) -> Execution:
        """Run the task in a fresh interpreter. Never raises because of what the candidate does."""

    def close(self) -> None:
        """End all processes of this sandbox."""

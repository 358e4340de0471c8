"""The Python tool: runs code in the sandbox and keeps its variables from call to call.

An episode's state is the list of its earlier cells. Each call runs them again in a fresh interpreter of the sandbox,
then the new one, so a state needs no process of its own, and hundreds of episodes share one sandbox. A cell that
reaches a limit is undone. Programs that read the clock may see another time when they are run again, except in the
tier wasm, whose clock is virtual.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from r1kit.rewards import services
from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.base import InfraError, Limits, Task
from r1kit.tools.base import MAX_RESULT, Tool, ToolError

MAX_CELLS = 32  # calls of an episode that keep their state
MAX_CODE = 20_000  # characters of a cell
# For all cells of a call together.
LIMITS = Limits(fuel=20_000_000_000, cpu_seconds=5.0, memory_bytes=256 << 20, output_bytes=4 << 20)
DRIVER = f"""
import ast, contextlib, io
scope = {{"__name__": "__main__"}}
def run(code):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            body = ast.parse(code, "cell").body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), "cell", "exec"), scope)
            value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), scope)
            if value is not None:
                print(repr(value))
    except MemoryError:
        raise
    except BaseException as error:
        return [False, printed.getvalue()[:{MAX_RESULT}], (type(error).__name__ + ": " + str(error))[:{MAX_RESULT}]]
    return [True, printed.getvalue()[:{2 * MAX_RESULT}], ""]
"""


@dataclass
class PythonSession:
    """The Python of one episode. It begins without any variable."""

    cells: list[str] = field(default_factory=list)

    def run(self, code: str) -> str:
        """Return what a cell prints, and the value of its last line if that is an expression.

        A cell that raises an exception keeps what it did before; one that reaches a limit is undone.

        Raises:
            ToolError: The cell failed, with what it printed and its exception or the limit.
            InfraError: The sandbox failed.
            UserError: No sandbox works on this machine.
        """
        if len(self.cells) == MAX_CELLS:
            raise ToolError(f"this session has run {MAX_CELLS} cells: no more are allowed")
        if len(code) > MAX_CODE:
            raise ToolError(f"the code has {len(code):,} characters: at most {MAX_CODE:,} are allowed")
        task = Task("call", DRIVER, tuple(map(_input, [*self.cells, code])))
        outcome = services.sandbox().run(task, LIMITS).outcomes[-1]
        if outcome.status == "infra_error":
            raise InfraError(outcome.detail)
        match outcome.value:
            case [bool(succeeded), str(printed), str(error)] if outcome.status == "ok":
                self.cells.append(code)
            case _:
                raise ToolError(f"undone: {outcome.detail or 'the interpreter returned something else'}")
        if not succeeded:
            raise ToolError(f"{printed.rstrip()}\n{error}".lstrip())
        return printed.rstrip("\n")


def _input(code: str) -> str:
    return json.dumps({"function": "run", "args": codec.encode([code]), "kwargs": {}})


def _start() -> Any:
    session = PythonSession()

    def run(arguments: Mapping[str, Any]) -> str:
        return session.run(arguments["code"])

    return run


PYTHON = Tool(
    name="python",
    description="Run Python code. Variables are kept between calls; what it prints and the last value are returned.",
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string"}},
        "required": ["code"],
        "additionalProperties": False,
    },
    start=_start,
)

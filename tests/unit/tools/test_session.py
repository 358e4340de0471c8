"""The tools of an episode: arguments are checked, results bounded, and the Python tool forgets between episodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.sandbox.base import Execution, InfraError, Outcome
from r1kit.tools.base import MAX_RESULT, BrokenCall, Tool, ToolCall, ToolResult, ToolSession, success_rate
from r1kit.tools.calculator import CALCULATOR
from r1kit.tools.python import MAX_CELLS, PYTHON
from r1kit.types import SandboxTier


def ask(session: ToolSession, tool: str, **arguments: object) -> ToolResult:
    return session.call(ToolCall("call_0", tool, arguments))


@pytest.fixture
def trusted() -> Iterator[None]:
    services.configure(services.Settings(sandbox="none"))
    yield
    services.configure(services.Settings())


def test_calls_that_succeed_and_calls_that_do_not() -> None:
    session = ToolSession([CALCULATOR])
    assert ask(session, "calculator", expression="6*7") == ToolResult("42", True)
    assert ask(session, "calculator", expression="1/0") == ToolResult("error: division by zero", False)
    assert "does not satisfy" not in ask(session, "calculator", expression="1").text
    for arguments in ({}, {"expression": 5}, {"expression": "1", "more": 2}):
        result = ask(session, "calculator", **arguments)
        assert not result.succeeded and "do not satisfy its schema" in result.text
    assert "there is no tool 'shell': use calculator" in ask(session, "shell").text
    assert session.call(BrokenCall("<tool_call>{", "not JSON")) == ToolResult("error: not JSON", False)
    assert success_rate(session.outcomes) == 2 / 8 and success_rate([]) == 0


def test_a_result_is_cut() -> None:
    endless = Tool("endless", "", {"type": "object"}, lambda: lambda arguments: "a" * (MAX_RESULT + 1234))
    text = ask(ToolSession([endless]), "endless").text
    assert text == "a" * MAX_RESULT + "\n[... 1,234 characters left out]"


@pytest.mark.slow
@pytest.mark.parametrize("tier", get_args(SandboxTier))
def test_python_keeps_its_state_for_one_episode(tier: str) -> None:
    services.configure(services.Settings(sandbox=tier))
    try:
        services.sandbox()
    except UserError as error:
        pytest.skip(str(error).splitlines()[0])
    session, other = ToolSession([PYTHON]), ToolSession([PYTHON])
    assert ask(session, "python", code="x = 41\nprint('set')").text == "set"
    assert ask(session, "python", code="x += 1\nx").text == "42"
    assert ask(session, "python", code="x += 100\n1/0") == ToolResult(
        "error: ZeroDivisionError: division by zero", False
    )
    assert ask(session, "python", code="def f():\n    return x\nf()").text == "142", "a cell that raises keeps its work"
    assert "NameError" in ask(other, "python", code="x").text, "another episode knows nothing of it"
    assert "NameError" in ask(ToolSession([PYTHON]), "python", code="x").text, "nor does a later one"
    assert "undone" in ask(session, "python", code="x = 0\nwhile True: pass").text
    assert ask(session, "python", code="x").text == "142", "a cell that reaches a limit is undone"
    assert "SystemExit" in ask(session, "python", code="import os; os._exit(3)").text
    services.configure(services.Settings())


@pytest.mark.slow
def test_python_is_bounded(trusted: None) -> None:
    session = ToolSession([PYTHON])
    assert len(ask(session, "python", code="print('a' * 10**6)").text) < MAX_RESULT + 50
    assert "at most 20,000" in ask(session, "python", code="x" * 20_001).text
    assert "SyntaxError" in ask(session, "python", code="1 +").text
    for _ in range(MAX_CELLS - 2):
        ask(session, "python", code="1")
    assert "no more are allowed" in ask(session, "python", code="1").text


def test_a_sandbox_that_fails_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def run(self, task: object, limits: object) -> Execution:
            return Execution((Outcome("infra_error", detail="the host ended"),))

    monkeypatch.setattr(services, "sandbox", Failing)
    session = ToolSession([PYTHON])
    with pytest.raises(InfraError, match="the host ended"):
        ask(session, "python", code="1")
    assert session.outcomes == []

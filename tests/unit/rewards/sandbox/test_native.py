"""The native tiers and the tier none: results, limits, crashes, and the life of the server processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.base import Execution, InfraError, Limits, Task
from r1kit.rewards.sandbox.channel import Exit, oom_kills, to_execution
from r1kit.rewards.sandbox.tiers.landlock import LandlockSandbox
from r1kit.rewards.sandbox.tiers.namespaces import NamespaceSandbox
from r1kit.rewards.sandbox.tiers.none import PlainSandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux system calls")
LIMITS = Limits(cpu_seconds=0.5, memory_bytes=128 << 20, output_bytes=1 << 20)


@pytest.fixture(scope="module", params=[NamespaceSandbox, LandlockSandbox, PlainSandbox], ids=lambda tier: tier.name)
def sandbox(request):
    try:
        opened = request.param()
    except InfraError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


def run(sandbox, source: str, *inputs: str, mode: str = "stdin") -> Execution:
    return sandbox.run(Task(mode, source, inputs or ("",)), LIMITS)


def statuses(execution: Execution) -> list[str]:
    return [outcome.status for outcome in execution.outcomes]


def test_values_and_printed_output_are_returned(sandbox) -> None:
    assert [o.value for o in run(sandbox, "print(int(input()) * 2)", "21\n", "4").outcomes] == ["42\n", "8\n"]
    call = json.dumps({"function": "f", "args": codec.encode([{"a": (1, 2.5)}]), "kwargs": {}})
    [outcome] = run(sandbox, "def f(x): return [x, {3}, None]", call, mode="call").outcomes
    assert codec.same([{"a": (1, 2.5)}, {3}, None], outcome.value)
    assert run(sandbox, "x = 7", "x + 1", "x / 0", mode="expression").outcomes[0].value == 8


def test_numpy_can_be_imported(sandbox) -> None:
    pytest.importorskip("numpy")
    assert run(sandbox, "import numpy; print(numpy.linalg.det(numpy.eye(3)))").outcomes[0].value == "1.0\n"


@pytest.mark.slow
def test_results_before_the_end_of_the_process_are_kept(sandbox) -> None:
    source = "import ctypes, time\ndef f(x):\n    if x == 1: ACTION\n    return x"
    calls = [json.dumps({"function": "f", "args": codec.encode([x]), "kwargs": {}}) for x in range(3)]
    for action, status in (("time.sleep(60)", "over_limit"), ("ctypes.CDLL(None)._exit(0)", "error")):
        execution = run(sandbox, source.replace("ACTION", action), *calls, mode="call")
        assert statuses(execution) == ["ok", status, status], execution


@pytest.mark.slow
def test_the_detail_names_the_reason(sandbox) -> None:
    def detail(source: str) -> str:
        return run(sandbox, source).outcomes[0].detail

    assert detail("import time; time.sleep(60)") == "wall clock: 0.8 s"
    assert detail("1 / 0") == "ZeroDivisionError: division by zero"
    assert detail("import ctypes; ctypes.string_at(0)") == "the interpreter was ended by SIGSEGV"
    assert detail("import ctypes; ctypes.CDLL(None)._exit(3)") == "the interpreter ended early, with exit code 3"
    assert detail("while True: print('x' * 10000)") == "output"
    if sandbox.name != "none":
        assert detail("x = [0] * 10**8") == "memory"
        [endless] = sandbox.run(Task("stdin", "while True: pass", ("",)), replace(LIMITS, cpu_seconds=1)).outcomes
        assert endless.detail == "CPU time: 1 s"


def test_a_killed_program_ran_out_of_memory_only_if_the_kernel_counts_it() -> None:
    """The CPU limit counts ticks: on a busy machine it kills after less measured time than the limit."""
    task = Task("stdin", "", ("",))

    def detail(cpu_seconds: float, oom_killed: bool | None, stopped: bool = False) -> str:
        end = Exit(-signal.SIGKILL, cpu_seconds, stopped, oom_killed)
        return to_execution([], False, end, task, LIMITS).outcomes[0].detail

    assert detail(0.2, oom_killed=False) == detail(0.5, oom_killed=True) == "CPU time: 0.5 s"
    assert detail(0.2, oom_killed=True) == detail(0.2, oom_killed=None) == "memory"
    assert detail(0.2, oom_killed=False, stopped=True) == "the interpreter closed its channel"
    counted = [line.split()[1] for line in Path("/proc/vmstat").read_text().splitlines() if line[:9] == "oom_kill "]
    assert [oom_kills()] == ([int(counted[0])] if counted else [None])


def test_a_dead_server_is_replaced_and_its_task_repeated() -> None:
    try:
        sandbox = LandlockSandbox()
    except InfraError as error:
        pytest.skip(str(error))
    sandbox.servers[""].process.send_signal(signal.SIGKILL)
    assert run(sandbox, "print(1)").outcomes[0].value == "1\n"
    sandbox.close()


def test_server_and_candidate_end_when_their_host_is_killed() -> None:
    code = (
        "from r1kit.rewards.sandbox.tiers.landlock import *\nfrom r1kit.rewards.sandbox.base import *\n"
        "sandbox = LandlockSandbox(); print(sandbox.servers[''].process.pid, flush=True)\n"
        "sandbox.run(Task('stdin', 'while True: pass', ('',)), Limits(cpu_seconds=100.0))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as host:
        server = host.stdout.readline()
        if not server:
            pytest.skip("no landlock here")
        candidates = Path(f"/proc/{server.strip()}/task/{server.strip()}/children")
        while not (candidate := candidates.read_text().split()):
            time.sleep(0.01)
        host.kill()
    deadline = time.monotonic() + 60
    while any(map(alive, (server.strip(), *candidate))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, (server.strip(), *candidate)))


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False

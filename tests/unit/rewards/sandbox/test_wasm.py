"""The wasm tier: honest programs work, limits hold, tasks share nothing, and every run gives the same bits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.base import Execution, Limits, Task
from r1kit.rewards.sandbox.tiers.wasm import WasmSandbox

SMALL = Limits(fuel=500_000_000, memory_bytes=128 << 20, output_bytes=1 << 16)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[WasmSandbox]:
    opened = WasmSandbox()
    yield opened
    opened.close()


def run(sandbox: WasmSandbox, mode: str, source: str, *inputs: str, limits: Limits = SMALL) -> Execution:
    return sandbox.run(Task(mode, source, inputs), limits)


def call(function: str, *args: codec.Value) -> str:
    return json.dumps({"function": function, "args": codec.encode([*args])})


HONEST = {  # name: (program, standard input, printed output)
    "plain": ("print(int(input()) + 1)", "41\n", "42\n"),
    "exit": ("import sys\nprint(1)\nsys.exit(0)", "", "1\n"),
    "os._exit": ("import os\nprint(1)\nos._exit(0)", "", "1\n"),
    "quit": ("print(1); quit()", "", "1\n"),
    "read all": ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", "1 2\n3", "6\n"),
    "open(0)": ("print(sum(map(int, open(0).read().split())))", "1 2\n3", "6\n"),
    "descriptors": ("import os\nos.write(1, os.read(0, 99)[::-1])", "abc", "cba"),
    "buffer": ("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.readline())", "é\nx", "é\n"),
    "readline": ("import sys\ninput = sys.stdin.readline\nprint(int(input()) + int(input()))", "1\n2", "3\n"),
    "at exit": ("import atexit\natexit.register(lambda: print('bye'))\nprint('hi')", "", "hi\nbye\n"),
    "deep": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\n"
        "def f(n): return n and 1 + f(n - 1)\n"
        "def main(): print(f(50000))\nt = threading.Thread(target=main); t.start(); t.join()",
        "",
        "50000\n",
    ),
    "memoised": ("from functools import cache\nf = cache(lambda n: n and 1 + f(n - 1))\nprint(f(900))", "", "900\n"),
    "recursion error": ("def f(): f()\ntry: f()\nexcept RecursionError: print('deep')", "", "deep\n"),
    "unicode": ("print(input()[::-1], '\\N{SNOWMAN}')", "añ你", "你ña ☃\n"),
    "encodings": ("print(len('é'.encode('utf-8-sig') + '本'.encode('shift_jis')))", "", "7\n"),
    "heavy memory": ("x = [0] * 10**7\nprint(len(x))", "", "10000000\n"),
    "memory error": ("try: x = [0] * 10**9\nexcept MemoryError: print('much')", "", "much\n"),
    "infinity": ("import sys\nprint(min(sys.maxsize, 2**40))", "", f"{2**40}\n"),
    "sleep": ("import time\na = time.time()\ntime.sleep(3600)\nprint(time.time() - a >= 3600)", "", "True\n"),
    "clock": ("from time import time\nend = time() + 0.1\nwhile time() < end: pass\nprint(1)", "", "1\n"),
    "dates": (
        "from datetime import date, datetime, timedelta\nprint(date(2024, 2, 28) + timedelta(2), datetime.now().year,"
        "datetime.strptime('2020-01-02', '%Y-%m-%d').weekday(), isinstance(datetime.now().date(), date))",
        "",
        "2024-03-01 2025 3 True\n",
    ),
    "warnings": ("import logging\nlogging.warning('x')\nx = '\\d'\nprint(x)", "", "\\d\n"),
    "syntax error": ("try: eval('1 +')\nexcept SyntaxError: print('bad')", "", "bad\n"),
    "traceback": ("import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()\nprint(1)", "", "1\n"),
    "no file": ("import os\ntry: open('x')\nexcept OSError: print(os.path.exists('x'))", "", "False\n"),
    "no numpy": ("try: import numpy\nexcept ImportError: print('none')", "", "none\n"),
    "unseeded": ("from random import *\nseed()\nprint(random() != Random().random())", "", "True\n"),
    "seeded": ("from random import *\nseed(5)\nprint(randrange(100), Random(5).randrange(100))", "", "79 79\n"),
    "no input": ("try: input()\nexcept EOFError: print('end')", "", "end\n"),
    "dataclass": ("from dataclasses import dataclass\n@dataclass\nclass A: x: int\nprint(A(1))", "", "A(x=1)\n"),
    "main": ("if __name__ == '__main__': print(__name__)", "", "__main__\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.slow
def test_honest_programs_print_what_they_print_elsewhere(sandbox: WasmSandbox, name: str) -> None:
    program, text, printed = HONEST[name]
    [outcome] = run(sandbox, "stdin", program, text).outcomes
    assert (outcome.value, outcome.detail) == (printed, "")


def test_calls_of_a_task_share_an_interpreter_and_tasks_do_not(sandbox: WasmSandbox) -> None:
    counter = (
        "import builtins\nn = getattr(builtins, 'n', 0)\ndef f(): builtins.n = n + 1; globals()['n'] += 1; return n"
    )
    for _ in range(2):
        assert [o.value for o in run(sandbox, "call", counter, call("f"), call("f")).outcomes] == [1, 2]


def test_values_keep_their_types(sandbox: WasmSandbox) -> None:
    source = (
        "class Solution:\n    def f(self, x): return [x, (x, 2.5), {1: {x}}, None, True, 10**5000]\nraise SystemExit"
    )
    [outcome] = run(sandbox, "call", source, call("Solution().f", 3)).outcomes
    assert codec.same([3, (3, 2.5), {1: {3}}, None, True, 10**5000], outcome.value)


def test_expressions_and_formulas_are_evaluated(sandbox: WasmSandbox) -> None:
    execution = run(
        sandbox, "expression", "def f(x): return x * 2", "f(2)", "sorted([f(1), 0])", "f(", "g(1)", "f('a')"
    )
    assert [o.value for o in execution.outcomes] == [4, [0, 2], None, None, "aa"]
    assert [o.detail.split(":")[0] for o in execution.outcomes] == ["", "", "SyntaxError", "NameError", ""]
    pairs = [["x+1", "1+x"], ["\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}"], ["x", "x+1"], ["((", "1"]]
    execution = run(sandbox, "symbolic", "", *map(json.dumps, pairs), limits=Limits())
    assert [o.value for o in execution.outcomes] == [True, True, False, None]


# The program replaces its interpreter's replies during its first call.
FORGE = "import json\ndef f(): json.dumps = lambda reply: "
FAILING = {  # name: (mode, program, input, status, part of the detail)
    "raises": ("stdin", "1 / 0", "", "error", "ZeroDivisionError"),
    "syntax": ("stdin", "def f(:", "", "error", "SyntaxError"),
    "exit code": ("stdin", "print(1)\nraise SystemExit(3)", "", "error", "SystemExit: 3"),
    "exit in a call": ("call", "import sys\ndef f(): sys.exit(0)", call("f"), "error", "SystemExit"),
    "loop": ("stdin", "while True: pass", "", "over_limit", "fuel"),
    "stubborn": ("stdin", "while 1:\n try:\n  while 1: pass\n except BaseException: 0", "", "over_limit", "fuel"),
    "regular expression": ("stdin", "import re\nre.match('(a+)+b', 'a' * 60)", "", "over_limit", "fuel"),
    "power": ("stdin", "9 ** 9 ** 9", "", "over_limit", ""),
    "memory": ("stdin", "x = []\nwhile True: x.append(bytearray(10**6))", "", "over_limit", "memory"),
    "output": ("stdin", "while True: print('x' * 1000)", "", "over_limit", "output"),
    "errors, many": ("stdin", "import sys\nwhile True: sys.stderr.write('x' * 1000)", "", "over_limit", "output"),
    "large value": ("call", "def f(): return 'x' * 10**8", call("f"), "over_limit", ""),
    "abort": ("stdin", "import os\nos.abort()", "", "error", ""),
    "deadlock": ("stdin", "import threading\nt = threading.Lock()\nt.acquire()\nt.acquire()", "", "error", "stopped"),
    "object": ("call", "def f(): return f", call("f"), "ok", ""),  # its name is returned, equal to no expected value
    "mute": ("call", "class E(Exception):\n def __str__(s): raise s\ndef f(): raise E", call("f"), "error", "E"),
    "forged reply": ("call", FORGE + """'{"status": "infra_error"}'""", call("f"), "error", "unreadable"),
    "long reply": ("call", FORGE + "'9' * 10**6", call("f"), "over_limit", "output"),
    "deep reply": ("call", FORGE + "'[' * 10**5", call("f"), "error", "unreadable"),
    "no reply": ("call", FORGE + "None", call("f"), "error", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILING)
def test_failing_programs_have_a_status_and_a_detail(sandbox: WasmSandbox, name: str) -> None:
    mode, program, text, status, detail = FAILING[name]
    [outcome] = run(sandbox, mode, program, text).outcomes
    assert outcome.status == status and detail in outcome.detail, outcome


def test_inputs_after_a_limit_are_over_limit_too(sandbox: WasmSandbox) -> None:
    program = "n = int(input())\nwhile n == 2: pass\nprint(n)"
    assert [o.value or o.status for o in run(sandbox, "stdin", program, "0", "1", "2", "3").outcomes] == [
        "0\n", "1\n", "over_limit", "over_limit"
    ]  # fmt: skip


@pytest.mark.slow
def test_two_processes_give_the_same_bits(sandbox: WasmSandbox) -> None:
    program = (
        "import random, time, datetime, os, uuid, secrets\n"
        "print(random.random(), hash('abc'), id(object()), time.time(), time.perf_counter(), datetime.datetime.now(),"
        "{'b', 'a', 'c'}, os.getpid(), os.urandom(4), uuid.uuid4(), secrets.token_hex(), random.Random().random())"
    )
    tasks = [("stdin", program, ""), ("stdin", "while True: pass", ""), ("stdin", "print(sum(range(10**5)))", "")]
    other = WasmSandbox()
    try:
        assert [run(sandbox, *task) for task in tasks * 2] == [run(other, *task) for task in tasks * 2]
    finally:
        other.close()


def test_a_dead_host_process_is_replaced(sandbox: WasmSandbox) -> None:
    os.kill(sandbox.pid, signal.SIGKILL)
    assert run(sandbox, "stdin", "print(1)", "").outcomes[0].value == "1\n"


@pytest.mark.slow
def test_a_changed_component_is_not_loaded(sandbox: WasmSandbox, tmp_path: Path) -> None:
    built, digest = sandbox.component
    changed = Path(shutil.copy(built, tmp_path))
    with open(changed, "r+b") as file:
        file.seek(5000)
        file.write(b"changed")
    broken = WasmSandbox()
    broken.close()
    broken.component = (changed, digest)
    assert {o.status for o in run(broken, "stdin", "print(1)", "", "").outcomes} == {"infra_error"}


def test_the_cache_is_private(sandbox: WasmSandbox) -> None:
    build = sandbox.component[0].parent
    assert all(os.stat(path).st_mode & 0o077 == 0 for path in (build.parent, build, *build.iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="landlock and seccomp exist on Linux only")
def test_every_thread_of_the_host_is_confined(sandbox: WasmSandbox) -> None:
    assert sandbox.layers == ("landlock", "seccomp")
    states = [file.read_text() for file in Path(f"/proc/{sandbox.pid}/task").glob("*/status")]
    assert states and all("Seccomp:\t2" in state and "NoNewPrivs:\t1" in state for state in states)
    memory = next(line for line in states[0].splitlines() if line.startswith("VmRSS"))
    assert int(memory.split()[1]) < 100_000, memory  # kB; see docs/sandbox.md

"""The native tiers: what a program gets back, how limits and crashes come out, and the filters by themselves."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from r1kit.rewards import code
from r1kit.rewards.sandbox import codec, kernel, landlock, seccomp
from r1kit.rewards.sandbox.base import Execution, Limits, Task
from r1kit.rewards.sandbox.channel import Broken
from r1kit.rewards.sandbox.native import LandlockSandbox, NamespaceSandbox
from r1kit.rewards.sandbox.none import PlainSandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux system calls")
LIMITS = Limits(cpu_seconds=0.5, memory_bytes=128 << 20, output_bytes=1 << 20)


@pytest.fixture(scope="module", params=[NamespaceSandbox, LandlockSandbox, PlainSandbox], ids=lambda tier: tier.name)
def sandbox(request):
    try:
        made = request.param()
    except Broken as error:
        pytest.skip(str(error))
    yield made
    made.close()


def run(sandbox, source: str, *inputs: str, mode: str = "stdin") -> Execution:
    return sandbox.run(Task(mode, source, inputs or ("",)), LIMITS)


def statuses(execution: Execution) -> list[str]:
    return [outcome.status for outcome in execution.outcomes]


def test_values_and_output_come_back(sandbox) -> None:
    assert [o.value for o in run(sandbox, "print(int(input()) * 2)", "21\n", "4").outcomes] == ["42\n", "8\n"]
    call = json.dumps({"function": "f", "args": codec.encode([{"a": (1, 2.5)}]), "kwargs": {}})
    [outcome] = run(sandbox, "def f(x): return [x, {3}, None]", call, mode="call").outcomes
    assert codec.same([{"a": (1, 2.5)}, {3}, None], outcome.value)
    assert run(sandbox, "x = 7", "x + 1", "x / 0", mode="expression").outcomes[0].value == 8


def test_numpy_is_there_and_fast_to_reach(sandbox) -> None:
    pytest.importorskip("numpy")
    assert run(sandbox, "import numpy; print(numpy.linalg.det(numpy.eye(3)))").outcomes[0].value == "1.0\n"


def test_earlier_results_survive_a_later_end(sandbox) -> None:
    source = "import ctypes, time\ndef f(x):\n    if x == 1: ACTION\n    return x"
    calls = [json.dumps({"function": "f", "args": codec.encode([x]), "kwargs": {}}) for x in range(3)]
    for action, status in (("time.sleep(60)", "over_limit"), ("ctypes.CDLL(None)._exit(0)", "error")):
        execution = run(sandbox, source.replace("ACTION", action), *calls, mode="call")
        assert statuses(execution) == ["ok", status, status], execution


def test_the_reason_is_named(sandbox) -> None:
    def why(source: str) -> str:
        return run(sandbox, source).outcomes[0].detail

    assert why("import time; time.sleep(60)") == "wall clock: 0.8 s"
    assert why("1 / 0") == "ZeroDivisionError: division by zero"
    assert why("import ctypes; ctypes.string_at(0)") == "the interpreter was ended by SIGSEGV"
    assert why("import ctypes; ctypes.CDLL(None)._exit(3)") == "the interpreter ended early, with exit code 3"
    assert why("while True: print('x' * 10000)") == "output"
    if sandbox.name != "none":
        assert why("x = [0] * 10**8") == "memory"


def test_a_server_that_dies_is_replaced_and_its_task_repeated() -> None:
    try:
        sandbox = LandlockSandbox()
    except Broken as error:
        pytest.skip(str(error))
    sandbox._servers[""].process.send_signal(signal.SIGKILL)
    assert run(sandbox, "print(1)").outcomes[0].value == "1\n"
    sandbox.close()


def test_nothing_outlives_its_host() -> None:
    """A host that is killed in the middle of a run takes server and candidate along."""
    code = (
        "from r1kit.rewards.sandbox.native import *\nfrom r1kit.rewards.sandbox.base import *\n"
        "sandbox = LandlockSandbox(); print(sandbox._servers[''].process.pid, flush=True)\n"
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


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_the_numbers_are_the_kernels(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header}")
    text = Path(header).read_text()
    text = text.replace("__NR3264_fstatat", "__NR_newfstatat").replace("__NR3264_", "__NR_")
    real = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)\n", text)}
    ours = {name: numbers[machine] for name, numbers in seccomp.NUMBERS.items() if machine in numbers}
    assert ours == {name: real.get(name) for name in ours} and len(ours) > 60


def test_the_filter_decides_as_written() -> None:
    """The assembled program, interpreted here: allowed, denied, wrong architecture, argument checks of 64 bits."""
    for machine, other in (("x86_64", "aarch64"), ("aarch64", "x86_64")):
        code = seccomp.assemble(seccomp.INTERPRETER, machine)
        allowed = seccomp.INTERPRETER.allowed
        number = {name: seccomp.NUMBERS[name][machine] for name in allowed if machine in seccomp.NUMBERS[name]}
        here, there = seccomp.ARCHITECTURES[machine], seccomp.ARCHITECTURES[other]
        for name in set(number) - set(seccomp.INTERPRETER.conditions):
            assert verdict(code, here, number[name]) == seccomp.ALLOW
            assert verdict(code, there, number[name]) == seccomp.KILL
        for name in set(range(600)) - set(number.values()):
            assert verdict(code, here, name) == seccomp.DENY
        assert verdict(code, here, number["ioctl"], 0, 0x5401) == seccomp.ALLOW
        assert verdict(code, here, number["ioctl"], 0, 0x5412) == seccomp.DENY
        assert verdict(code, here, number["ioctl"], 0, 0x5401 | 1 << 32) == seccomp.DENY
        assert verdict(code, here, number["fcntl"], 0, 8) == seccomp.DENY  # F_SETOWN
        assert verdict(code, here, number["prlimit64"], 0, 7, 0, 1 << 40) == seccomp.ALLOW
        assert verdict(code, here, number["prlimit64"], 0, 7, 1 << 40) == seccomp.DENY
    assert verdict(seccomp.assemble(seccomp.INTERPRETER, "x86_64"), 0xC000003E, 1 | 0x40000000) == seccomp.KILL
    compiler, clone = seccomp.assemble(seccomp.COMPILER, "x86_64"), seccomp.NUMBERS["clone"]["x86_64"]
    assert verdict(compiler, 0xC000003E, clone, seccomp.SPAWN) == seccomp.ALLOW
    assert verdict(compiler, 0xC000003E, clone, seccomp.SPAWN | 0x10000000) == seccomp.DENY  # a user namespace


def verdict(code: bytes, architecture: int, number: int, *arguments: int) -> int:
    import struct

    data = struct.pack("IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    at, word = 0, 0
    while True:
        operation, if_true, if_false, value = struct.unpack_from("HBBI", code, 8 * at)
        at += 1
        if operation == seccomp.RETURN:
            return value
        if operation == seccomp.LOAD_WORD:
            (word,) = struct.unpack_from("I", data, value)
        else:
            holds = word == value if operation == seccomp.JUMP_EQUAL else word >= value
            at += if_true if holds else if_false


def test_landlock_allows_what_it_names(tmp_path: Path) -> None:
    if not landlock.abi():
        pytest.skip("no landlock here")
    for name in ("readable", "writable", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("old")
    code = f"""
import os
from r1kit.rewards.sandbox import landlock
landlock.restrict(read=[{str(tmp_path / "readable")!r}, "/nowhere"], write=[{str(tmp_path / "writable")!r}])
for name in ("readable", "writable", "other"):
    for mode in "rw":
        try: open(f"{tmp_path}/{{name}}/file", mode).close(); print(name, mode)
        except PermissionError: pass
try: os.execv("/bin/true", ["true"])
except PermissionError: print("no exec")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["readable r", "writable r", "writable w", "no exec"]


def test_dropped_capabilities_do_not_come_back() -> None:
    code = (
        "import os; from r1kit.rewards.sandbox import kernel; kernel.drop_capabilities()\n"
        "print([line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNewPrivs'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.findall(r":\\t(\w+)", done.stdout) == ["0" * 16] * 5 + ["1"]


def test_a_failed_call_names_itself() -> None:
    with pytest.raises(OSError, match="setns: Bad file descriptor"):
        kernel.call("setns", -1, 0)
    assert kernel.call("getpid") == os.getpid() and ctypes.get_errno() in range(200)


# -- C++ -----------------------------------------------------------------------------------------------------------

HEADERS = "".join(f"#include <{name}>\n" for name in ("cstdio", "cstdlib", "fstream", "iostream"))
CPP = {  # name: (program, standard input, status, what is printed or why it failed)
    "words": ("int main(){long a,b;std::cin>>a>>b;std::cout<<a+b<<'\\n';}", "2 3", "ok", "5\n"),
    "half a character": ("int main(){std::cout<<std::cin.get();}", "\ud800", "ok", "237"),
    "exit": ("int main(){std::cout<<1;exit(0);}", "", "ok", "1"),
    "static": ('struct S{~S(){puts("last");}}s;int v=2;int main(){printf("%d ",v);}', "", "ok", "2 last\n"),
    "deep": (
        "int f(int n){volatile char x[99];x[0]=n;return n?f(n-1)+1:0;}int main(){std::cout<<f(9999);}",
        "",
        "ok",
        "9999",
    ),
    "code": ("int main(){return 3;}", "", "error", "exit code 3"),
    "crash": ("int main(){*(volatile int*)0=1;}", "", "error", "SIGSEGV"),
    "no program": ("int main(", "", "error", "CompileError"),
    "endless": ("int main(){for(volatile int i=0;;)i=1;}", "", "over_limit", ""),
    "much output": ('int main(){for(;;)puts("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");}', "", "over_limit", ""),
    "a host's file": ('int main(){std::ifstream f("/etc/passwd");std::cout<<f.good();}', "", "ok", "0"),
    "a process": ('#include <unistd.h>\nint main(){std::cout<<fork()<<system("true");}', "", "ok", "-132512"),
    "a socket": ("#include <sys/socket.h>\nint main(){std::cout<<socket(AF_INET,SOCK_STREAM,0);}", "", "ok", "-1"),
    "another program": ('#include <unistd.h>\nint main(){std::cout<<execl("/usr/bin/true","true",0);}', "", "ok", "-1"),
    "include a host's file": ('#include "/etc/passwd"\nint main(){}', "", "error", "No such file"),
    "embed a host's file": ('asm(".incbin \\"/etc/passwd\\"");int main(){}', "", "error", "CompileError"),
    "include without end": ("#include </dev/zero>\nint main(){}", "", "error", "No such file"),
    "no end of templates": (
        "template<int N>struct A{A<N+1>*a=new A<N+1>;};A<0>a;int main(){}",
        "",
        "error",
        "CompileError",
    ),
}


@pytest.mark.parametrize("name", CPP)
def test_cpp_is_compiled_and_run_in_the_same_confinement(name: str, cpp_sandbox: NamespaceSandbox) -> None:
    source, given, status, told = CPP[name]
    task = Task("stdin", HEADERS + source, (given,), "cpp")
    [outcome] = cpp_sandbox.run(task, LIMITS).outcomes
    assert outcome.status == status, outcome
    assert outcome.value == told if status == "ok" else told in outcome.detail


def test_a_response_may_answer_in_cpp(cpp_sandbox: NamespaceSandbox) -> None:
    response = f"<think>C++ is fast</think>\n```cpp\n{HEADERS}int main(){{int x;std::cin>>x;std::cout<<x*x;}}\n```"
    assert code.language_of(response) == "cpp" and code.language_of("```cpp\n```\n```python\n1\n```") == "python"
    for tests, status in (([("2", "4"), ("-3", "9")], "right"), ([("2", "4"), ("3", "8")], "wrong")):
        pairs = [{"input": given, "output": printed} for given, printed in tests]
        assert code.grade(response, pairs, None, cpp_sandbox, language="cpp").status == status
    assert code.grade(response, ["assert f(1) == 1"], None, cpp_sandbox, language="cpp").status == "infra_error"
    assert code.grade(response, ["assert f(1) == 1"], None, cpp_sandbox).status == "unparseable"


def test_cpp_leaves_python_programs_as_they_were(cpp_sandbox: NamespaceSandbox) -> None:
    for text in ("1", "2"):  # one compilation, each input in a process of its own
        source = "#include <iostream>\nint n=0;int main(){int x;std::cin>>x;std::cout<<x+n++;}"
        assert cpp_sandbox.run(Task("stdin", source, (text,), "cpp"), LIMITS).outcomes[0].value == text
    forks = "import os\ntry: print(os.fork())\nexcept OSError: print('no')"
    assert run(cpp_sandbox, forks).outcomes[0].value == "no\n"


@pytest.mark.parametrize("kind", [LandlockSandbox, PlainSandbox])
def test_cpp_is_no_verdict_where_it_cannot_be_run(kind: type) -> None:
    try:
        made = kind()
    except Broken as error:
        pytest.skip(str(error))
    assert statuses(made.run(Task("stdin", "int main(){}", ("",), "cpp"), LIMITS)) == ["infra_error"]
    made.close()


@pytest.fixture(scope="module")
def cpp_sandbox() -> Iterator[NamespaceSandbox]:
    if not shutil.which("g++"):
        pytest.skip("no g++")
    try:
        made = NamespaceSandbox()
    except Broken as error:
        pytest.skip(str(error))
    yield made
    made.close()

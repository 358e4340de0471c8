"""C++ programs: compiled once per source and run in the confinement of the tier namespaces."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest

from r1kit.rewards import code
from r1kit.rewards.sandbox.base import InfraError, Limits, Task
from r1kit.rewards.sandbox.tiers.landlock import LandlockSandbox
from r1kit.rewards.sandbox.tiers.namespaces import NamespaceSandbox
from r1kit.rewards.sandbox.tiers.none import PlainSandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux system calls")
LIMITS = Limits(cpu_seconds=0.5, memory_bytes=128 << 20, output_bytes=1 << 20)
HEADERS = "".join(f"#include <{name}>\n" for name in ("cstdio", "cstdlib", "fstream", "iostream"))
PROGRAMS = {  # name: (program, standard input, status, printed output or part of the detail)
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


@pytest.fixture(scope="module")
def cpp_sandbox() -> Iterator[NamespaceSandbox]:
    if not shutil.which("g++"):
        pytest.skip("no g++")
    try:
        opened = NamespaceSandbox()
    except InfraError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.slow
def test_cpp_programs_are_confined_like_python_programs(name: str, cpp_sandbox: NamespaceSandbox) -> None:
    source, text, status, expected = PROGRAMS[name]
    task = Task("stdin", HEADERS + source, (text,), "cpp")
    [outcome] = cpp_sandbox.run(task, LIMITS).outcomes
    assert outcome.status == status, outcome
    assert outcome.value == expected if status == "ok" else expected in outcome.detail


@pytest.mark.slow
def test_a_response_in_cpp_is_graded(cpp_sandbox: NamespaceSandbox) -> None:
    response = f"<think>C++ is fast</think>\n```cpp\n{HEADERS}int main(){{int x;std::cin>>x;std::cout<<x*x;}}\n```"
    assert code.language_of(response) == "cpp" and code.language_of("```cpp\n```\n```python\n1\n```") == "python"
    for tests, status in (([("2", "4"), ("-3", "9")], "right"), ([("2", "4"), ("3", "8")], "wrong")):
        pairs = [{"input": text, "output": printed} for text, printed in tests]
        assert code.grade_program(response, pairs, None, cpp_sandbox, language="cpp").status == status
    assert code.grade_program(response, ["assert f(1) == 1"], None, cpp_sandbox, language="cpp").status == "infra_error"
    assert code.grade_program(response, ["assert f(1) == 1"], None, cpp_sandbox).status == "unparseable"


def test_each_input_runs_in_a_new_process(cpp_sandbox: NamespaceSandbox) -> None:
    source = "#include <iostream>\nint n=0;int main(){int x;std::cin>>x;std::cout<<x+n++;}"
    for text in ("1", "2"):
        assert cpp_sandbox.run(Task("stdin", source, (text,), "cpp"), LIMITS).outcomes[0].value == text


def test_python_programs_cannot_fork_after_a_compilation(cpp_sandbox: NamespaceSandbox) -> None:
    cpp_sandbox.run(Task("stdin", "int main(){}", ("",), "cpp"), LIMITS)
    forks = "import os\ntry: print(os.fork())\nexcept OSError: print('no')"
    assert cpp_sandbox.run(Task("stdin", forks, ("",)), LIMITS).outcomes[0].value == "no\n"


@pytest.mark.parametrize("kind", [LandlockSandbox, PlainSandbox])
def test_tiers_without_cpp_return_infra_error(kind: type[LandlockSandbox] | type[PlainSandbox]) -> None:
    try:
        opened = kind()
    except InfraError as error:
        pytest.skip(str(error))
    [outcome] = opened.run(Task("stdin", "int main(){}", ("",), "cpp"), LIMITS).outcomes
    opened.close()
    assert outcome.status == "infra_error"

"""What confines a native candidate, tested without one: seccomp filters, Landlock rules, capabilities."""

from __future__ import annotations

import ctypes
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit.rewards.sandbox.native import kernel, landlock, seccomp

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux system calls")


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_system_call_numbers_equal_the_kernel_headers(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"no {header}")
    text = Path(header).read_text()
    text = text.replace("__NR3264_fstatat", "__NR_newfstatat").replace("__NR3264_", "__NR_")
    real = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)\n", text)}
    ours = {name: numbers[machine] for name, numbers in seccomp.NUMBERS.items() if machine in numbers}
    assert ours == {name: real.get(name) for name in ours} and len(ours) > 60


def test_the_filter_allows_exactly_its_profile() -> None:
    """Interpret the assembled program: allowed, denied, wrong architecture, checks of 64-bit arguments."""
    for machine, other in (("x86_64", "aarch64"), ("aarch64", "x86_64")):
        code = seccomp.assemble(seccomp.INTERPRETER, machine)
        allowed = seccomp.INTERPRETER.allowed
        number = {name: seccomp.NUMBERS[name][machine] for name in allowed if machine in seccomp.NUMBERS[name]}
        here, there = seccomp.ARCHITECTURES[machine], seccomp.ARCHITECTURES[other]
        for name in set(number) - set(seccomp.INTERPRETER.conditions):
            assert verdict(code, here, number[name]) == seccomp.ALLOW
            assert verdict(code, there, number[name]) == seccomp.KILL
        for unlisted in set(range(600)) - set(number.values()):
            assert verdict(code, here, unlisted) == seccomp.DENY
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


def test_landlock_allows_only_the_named_paths(tmp_path: Path) -> None:
    if not landlock.abi():
        pytest.skip("no landlock here")
    for name in ("readable", "writable", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("old")
    code = f"""
import os
from r1kit.rewards.sandbox.native import landlock
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


def test_dropped_capabilities_leave_every_set_empty() -> None:
    code = (
        "import os; from r1kit.rewards.sandbox.native import kernel; kernel.drop_capabilities()\n"
        "print([line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNewPrivs'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.findall(r":\\t(\w+)", done.stdout) == ["0" * 16] * 5 + ["1"]


def test_a_failed_call_raises_an_error_with_its_name() -> None:
    with pytest.raises(OSError, match="setns: Bad file descriptor"):
        kernel.call("setns", -1, 0)
    assert kernel.call("getpid") == os.getpid() and ctypes.get_errno() in range(200)

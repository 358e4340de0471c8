"""seccomp: an allow-list of system calls, as a hand-assembled BPF program. Other calls fail with EPERM.

Needs no privilege and cannot be undone. Calls of another architecture (32-bit, x32) end the process, because their
numbers mean other calls. An interpreter's list has no call that creates a process, a thread, a socket or a namespace,
runs a program or sends a signal, so RLIMIT_NPROC is not needed (the kernel does not enforce it on uid 0).
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from r1kit.rewards.sandbox.native import kernel

# name, number on x86_64, number on aarch64 (- for none), from asm/unistd_64.h and asm-generic/unistd.h
NUMBERS = {
    name: {machine: int(n) for machine, n in zip(("x86_64", "aarch64"), numbers, strict=True) if n != "-"}
    for name, *numbers in (
        line.split()
        for line in """
read 0 63
readv 19 65
pread64 17 67
write 1 64
writev 20 66
pwrite64 18 68
open 2 -
openat 257 56
close 3 57
close_range 436 436
dup 32 23
dup2 33 -
dup3 292 24
lseek 8 62
fstat 5 80
stat 4 -
lstat 6 -
newfstatat 262 79
statx 332 291
access 21 -
faccessat 269 48
faccessat2 439 439
readlink 89 -
readlinkat 267 78
getdents64 217 61
getcwd 79 17
chdir 80 49
ftruncate 77 46
unlink 87 -
unlinkat 263 35
mkdir 83 -
mkdirat 258 34
rmdir 84 -
rename 82 -
renameat 264 38
renameat2 316 276
fcntl 72 25
ioctl 16 29
poll 7 -
ppoll 271 73
select 23 -
pselect6 270 72
pipe 22 -
pipe2 293 59
mmap 9 222
munmap 11 215
mremap 25 216
mprotect 10 226
madvise 28 233
brk 12 214
nanosleep 35 101
clock_nanosleep 230 115
clock_gettime 228 113
clock_getres 229 114
gettimeofday 96 169
time 201 -
times 100 153
getpid 39 172
gettid 186 178
getppid 110 173
getuid 102 174
geteuid 107 175
getgid 104 176
getegid 108 177
getresuid 118 148
getresgid 120 150
getgroups 115 158
uname 63 160
getrusage 98 165
getrlimit 97 163
prlimit64 302 261
sched_yield 24 124
sched_getaffinity 204 123
getcpu 309 168
getrandom 318 278
umask 95 166
rt_sigaction 13 134
rt_sigprocmask 14 135
rt_sigreturn 15 139
sigaltstack 131 132
futex 202 98
set_robust_list 273 99
rseq 334 293
restart_syscall 219 128
membarrier 324 283
exit 60 93
exit_group 231 94
vfork 58 -
clone 56 220
execve 59 221
wait4 61 260
arch_prctl 158 -
set_tid_address 218 96
chmod 90 -
fchmod 91 52
fchmodat 268 53
fadvise64 221 223
""".split("\n")
        if line
    )
}
ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # AUDIT_ARCH_*
X32_BIT = 0x4000_0000

LOAD_WORD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER_OFFSET, ARCHITECTURE_OFFSET, ARGUMENTS_OFFSET = 0, 4, 16  # in struct seccomp_data
ALLOW, DENY, KILL = 0x7FFF_0000, 0x0005_0000 | errno.EPERM, 0x8000_0000
PR_SET_SECCOMP, MODE_FILTER = 22, 2


@dataclass(frozen=True)
class Profile:
    """The allowed system calls, by name."""

    allowed: frozenset[str]
    # call -> {index of an argument: its allowed values}; all listed arguments must match
    conditions: Mapping[str, Mapping[int, tuple[int, ...]]] = field(default_factory=dict)


TCGETS, FIONBIO, FIOCLEX = 0x5401, 0x5421, 0x5451
# Duplicate, flags, locks. Not F_SETOWN and F_SETSIG: with them the kernel sends any signal to any process of the user.
FCNTL = (*range(8), 1030)
COMPILER_CALLS = frozenset(
    "vfork clone execve wait4 arch_prctl set_tid_address chmod fchmod fchmodat fadvise64".split()
)
# CLONE_VM | CLONE_VFORK | SIGCHLD: a process that will run another program, not a thread and not a namespace.
SPAWN = 0x4111
INTERPRETER = Profile(  # a Python interpreter that computes, reads its library and writes to open descriptors
    frozenset(NUMBERS) - COMPILER_CALLS,
    {
        "ioctl": {1: (TCGETS, FIONBIO, FIOCLEX)},  # what open() and isatty() use; no call that writes into a terminal
        "fcntl": {1: FCNTL},
        "prlimit64": {0: (0,), 2: (0,)},  # only read the own limits
    },
)
COMPILER = Profile(frozenset(NUMBERS), {**INTERPRETER.conditions, "clone": {0: (SPAWN,)}})
NAMELESS = replace(INTERPRETER, allowed=INTERPRETER.allowed - {"uname"})  # hides the machine's name too


def install(profile: Profile = INTERPRETER) -> None:
    """Restrict this process to the system calls of the profile. Raises OSError where the kernel has no filters."""
    if kernel.MACHINE not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"seccomp: no table of system calls for {kernel.MACHINE}")
    program = assemble(profile, kernel.MACHINE)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HL", len(program) // 8, ctypes.addressof(code)))  # sock_fprog
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(header))


def assemble(profile: Profile, machine: str) -> bytes:
    """Return the filter as an array of struct sock_filter (8 bytes each). machine: x86_64 or aarch64."""
    code = [
        _op(LOAD_WORD, ARCHITECTURE_OFFSET),
        _op(JUMP_EQUAL, ARCHITECTURES[machine], 1, 0),
        _op(RETURN, KILL),
        _op(LOAD_WORD, NUMBER_OFFSET),
    ]
    if machine == "x86_64":
        code += [_op(JUMP_AT_LEAST, X32_BIT, 0, 1), _op(RETURN, KILL)]
    for name in NUMBERS:
        if name in profile.allowed and machine in NUMBERS[name]:
            verdict = [*_conditions(profile.conditions.get(name, {})), _op(RETURN, ALLOW)]
            code += [_op(JUMP_EQUAL, NUMBERS[name][machine], 0, len(verdict)), *verdict]
    return b"".join([*code, _op(RETURN, DENY)])


def _conditions(arguments: Mapping[int, Iterable[int]]) -> list[bytes]:
    """Assemble a check that denies unless each 64-bit argument has one of its values, all below 2**32."""
    code = []
    for index, values in arguments.items():
        low, choices = ARGUMENTS_OFFSET + 8 * index, list(values)  # little-endian, as both machines are
        code += [_op(LOAD_WORD, low + 4), _op(JUMP_EQUAL, 0, 1, 0), _op(RETURN, DENY), _op(LOAD_WORD, low)]
        code += [_op(JUMP_EQUAL, value, len(choices) - i, 0) for i, value in enumerate(choices)]
        code += [_op(RETURN, DENY)]
    return code


def _op(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", operation, if_true, if_false, value)

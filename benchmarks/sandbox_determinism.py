"""Check that the wasm tier gives the same bits on a busy machine, also for programs that run out of fuel.

    python benchmarks/sandbox_determinism.py [N]

Runs N programs on the idle machine, then again in a new sandbox process next to four busy loops, and compares status,
value, detail and fuel of all. The exit code is 1 if any differ.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from machine import describe

from r1kit.rewards.sandbox import open_sandbox
from r1kit.rewards.sandbox.base import Execution, Limits, Task

LIMITS = Limits(fuel=30_000_000, memory_bytes=128 << 20, output_bytes=1 << 20)
CLOCKS = "import time, random\nprint(time.time(), random.random(), hash('x'), id(object()), {'a', 'b', 'c'}, {seed})"
PROGRAMS = (
    "print({seed} ** 50)",
    "while True: pass",
    CLOCKS,
    "print(sorted((i * {seed}) % 1009 for i in range(2000))[5])",
    "x = []\nwhile True: x.append(bytearray(10**6))",
    "while True: print('x' * {seed})",
    "def f(n): return f(n + 1)\nf(0)",
    "import time\nwhile time.time() < 1735689600 + {seed}: pass\nprint(time.time())",
    "print(1 / ({seed} % 3))",
    "n = 0\nwhile n < {seed} * 1000: n += 1\nprint(n)",  # some of these finish within their fuel
)
BUSY_LOOPS = 4


def executions(count: int) -> tuple[list[Execution], float]:
    """Run `count` programs in a new sandbox and return their executions and the seconds taken."""
    sandbox = open_sandbox("wasm")
    start = time.perf_counter()
    try:
        sources = (PROGRAMS[i % len(PROGRAMS)].replace("{seed}", str(i)) for i in range(count))
        done = [sandbox.run(Task("stdin", source, ("",)), LIMITS) for source in sources]
    finally:
        sandbox.close()
    return done, time.perf_counter() - start


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    idle, idle_seconds = executions(count)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY_LOOPS)]
    try:
        busy, busy_seconds = executions(count)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    different = [i for i, pair in enumerate(zip(idle, busy, strict=True)) if pair[0] != pair[1]]
    statuses = [execution.outcomes[0].status for execution in idle]
    counts = {name: statuses.count(name) for name in sorted(set(statuses))}
    seconds = {"idle": round(idle_seconds, 1), "busy": round(busy_seconds, 1)}
    result = {"executions": count, "different": len(different), **counts, "seconds": seconds, "machine": describe()}
    print(json.dumps(result))
    sys.exit(bool(different or "infra_error" in counts))


if __name__ == "__main__":
    main()

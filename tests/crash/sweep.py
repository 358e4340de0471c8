"""Kill `r1kit run` at random times, run it again, and compare its files with those of an undisturbed run.

    make crashtest N=100

Kills are spread over the phases of a run, and within a phase over its calls and their duration; the seed decides. In a
third of the trials the second attempt is killed too. `--by stop` sends SIGTERM instead, `--by fill` fills the disk.
`--set stage.zero.rollouts_ahead=1` samples in a thread beside the updates, `--set stage.zero.environment=
crash_rewards:echo` samples episodes of several turns. `--amend STAGE` kills a run without the
`--set` in this stage, before the trials, which then continue it with `--amend` and the `--set`.
Children are forked from one process that has imported everything and computed nothing, so that a run takes seconds.
To test a new stage kind, add a stage to crash.toml.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

REWARDS = """
import time

def vowels(problem, text):
    return float(sum(c in "aeiou0123456789" for c in text))

def echo(problem, turns):
    time.sleep(time.time() % 0.01)  # episodes must not depend on the clock
    return f" {turns[-1]} " if len(turns) < 3 else None

echo.stop = tuple("aeiou0123456789")
"""
PHASES = {  # phase -> the functions that a run is in during the phase
    "rollout": ("r1kit.stages.rl_rollout:sample_completions",),
    "grading": ("r1kit.stages.rl_rollout:_score",),
    "update": ("r1kit.learn.learner:Learner.step", "r1kit.stages.train_loop:_backward"),
    "save": ("r1kit.learn.checkpoint:Checkpoints._write",),
    "publish": ("r1kit.model.hf:publish_model",),
    "evaluation": ("r1kit.evals.benchmark:evaluate",),
    "curation": ("r1kit.stages.curate:run",),
    "between stages": ("r1kit.run.execute:publish_artifact",),
    "amending": ("r1kit.run.amend:apply_amendments",),
    "episode": ("r1kit.rollout.episodes:_Sampling._answer",),  # between two turns
}
MARKS = {phase: chr(ord("A") + i).encode() for i, phase in enumerate(PHASES)}
# These contain times. DCP's index of a checkpoint (.metadata, so its manifest too) contains a random number.
NOT_COMPARED = {"timings.jsonl", "lineage.json", "report.html", "manifest.json"}
TIME_KEYS = {"artifact.json": ("started", "finished", "seconds", "at"), "progress.json": ("logs",)}

_arguments: list[str] = []  # of the command besides the recipe and the directory
_half_done: Path | None = None  # what the trials start from, if not from nothing
_events = -1  # file descriptor to which a child reports the phases it enters and leaves


def prepare(world: Path) -> None:
    """Write what the recipe reads, import everything, and instrument the phases."""
    shutil.copy(Path(__file__).with_name("crash.toml"), world / "recipe.toml")
    (world / "crash_rewards.py").write_text(REWARDS)
    words = "one two three four five six seven eight nine ten".split()
    records = [{"prompt": f"{a} and {b}?", "response": f"<think>{b}</think>{a} {b}"} for a in words[:4] for b in words]
    pairs = [{"prompt": row["prompt"], "chosen": row["response"], "rejected": "no"} for row in records]
    for name, rows in (("records", records[:26]), ("pairs", pairs[:26])):
        (world / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sys.path.insert(0, str(world))
    import torch._dynamo  # noqa: F401 - the first optimizer imports it
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: F401

    from r1kit import cli  # noqa: F401 - imported before the fork
    from r1kit.commands.runs import report
    from r1kit.config import STAGE_KINDS
    from r1kit.run import pipeline  # noqa: F401 - imported before the fork
    from r1kit.stages import curate, pretrain

    for module in sorted({kind.module for kind in STAGE_KINDS.values()}):
        importlib.import_module(module)
    curate.BLOCK = 4
    pretrain.TOKENIZER_DOCUMENTS, pretrain.LOG_EVERY, pretrain.SAVE_EVERY = 200, 1, 2
    report.write = report.show = lambda *_: None  # they only read the run
    for phase, functions in PHASES.items():
        for name in functions:
            _report_phase(name, MARKS[phase])


def _report_phase(name: str, mark: bytes) -> None:
    """Make a function report when it is entered (upper-case mark) and left (lower-case mark)."""
    module, _, path = name.partition(":")
    *owners, attribute = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    function = getattr(owner, attribute)

    @functools.wraps(function)
    def reporting(*args: Any, **kwargs: Any) -> Any:
        os.write(_events, mark)
        try:
            return function(*args, **kwargs)
        finally:
            os.write(_events, mark.lower())

    setattr(owner, attribute, reporting)
    for other in [m for n, m in sys.modules.items() if n.startswith("r1kit.") and vars(m).get(attribute) is function]:
        setattr(other, attribute, reporting)  # modules that imported it by name


@dataclass
class Attempt:
    """A child process that runs the recipe in `run_dir`."""

    pid: int
    events: int

    @classmethod
    def start(cls, world: Path, run_dir: Path) -> Attempt:
        events, reports = os.pipe()
        if (pid := os.fork()) == 0:
            _run(world, run_dir, reports)
        os.close(reports)
        return cls(pid, events)

    def marks(self) -> Iterator[bytes]:
        while mark := os.read(self.events, 1):
            yield mark

    def wait_for(self, mark: bytes, times: int) -> None:
        for seen in self.marks():
            times -= seen == mark
            if not times:
                return

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> tuple[int, list[bytes]]:
        """Wait for the child. Return its exit code, negative for a signal, and the marks not yet read."""
        rest = list(self.marks())
        os.close(self.events)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), rest


def _run(world: Path, run_dir: Path, reports: int) -> None:
    global _events
    _events, code = reports, 1
    try:
        from r1kit import cli

        os.chdir(world)
        output = os.open(log_of(world, run_dir), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.argv = ["r1kit", "run", "recipe.toml", "--run-dir", str(run_dir), "--json"]
        sys.argv += _arguments
        cli.main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def log_of(world: Path, run_dir: Path) -> Path:
    return world / f"{run_dir.name}.log"


def fingerprint(run_dir: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that must not depend on how often the run was killed."""
    hashes = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        if (
            path.is_file()
            and path.name not in NOT_COMPARED
            and not any(part.startswith(".") for part in name.split("/"))
        ):
            data = path.read_bytes()
            if path.name in TIME_KEYS:
                data = json.dumps(_without(TIME_KEYS[path.name], json.loads(data)), sort_keys=True).encode()
            hashes[name] = hashlib.sha256(data).hexdigest()
    return hashes


def _without(keys: Sequence[str], value: Any) -> Any:
    """Return a JSON value without these keys at any depth."""
    if isinstance(value, dict):
        return {key: _without(keys, item) for key, item in value.items() if key not in keys}
    return [_without(keys, item) for item in value] if isinstance(value, list) else value


def kill_in(stage: str, world: Path) -> Path:
    """Start a run and kill it once a stage has a checkpoint. Return its directory."""
    run_dir = world / "half-done"
    attempt = Attempt.start(world, run_dir)
    while not any((run_dir / "stages" / stage / "checkpoints").glob("step_*")):
        time.sleep(0.01)
    attempt.send(signal.SIGKILL)
    attempt.end()
    return run_dir


@dataclass(frozen=True)
class Undisturbed:
    """Files and timing of a run without disturbance."""

    files: dict[str, str]
    seconds: float
    pages: int  # size on disk, in pages of 4096 bytes
    entries: dict[str, int]  # phase -> calls
    durations: dict[str, float]  # phase -> mean seconds per call

    @classmethod
    def run(cls, world: Path) -> Undisturbed:
        start, marks, run_dir = time.monotonic(), [], new_run(world / "undisturbed")
        attempt = Attempt.start(world, run_dir)
        for mark in attempt.marks():
            marks.append((mark, time.monotonic()))
        code, _ = attempt.end()
        seconds = time.monotonic() - start
        if code:
            sys.exit(f"the undisturbed run failed:\n{log_of(world, run_dir).read_text()}")
        check_that_it_learns(run_dir)
        at = {p: ([t for x, t in marks if x == m], [t for x, t in marks if x == m.lower()]) for p, m in MARKS.items()}
        entries = {phase: len(entered) for phase, (entered, _) in at.items()}
        durations = {p: fmean(b - a for a, b in zip(*times, strict=True)) for p, times in at.items() if times[0]}
        pages = sum(1 + path.stat().st_size // 4096 for path in run_dir.rglob("*"))
        return cls(fingerprint(run_dir), seconds, pages, entries, durations)


def new_run(run_dir: Path) -> Path:
    """Make the directory of a run as the trials start from it."""
    shutil.rmtree(run_dir, ignore_errors=True)
    if _half_done is not None:
        shutil.copytree(_half_done, run_dir)
    return run_dir


def check_that_it_learns(run_dir: Path) -> None:
    """Exit unless every training stage has gradients: without learning, the comparison would prove nothing."""
    for path in run_dir.glob("stages/*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows and all(row["grad_norm"] > 0 for row in rows), f"{path}: no gradient in some step"


@dataclass
class Trial:
    """One disturbed run. Each kind of disturbance returns where it struck, and appends faults to `faults`."""

    world: Path
    run_dir: Path
    number: int
    undisturbed: Undisturbed
    rng: random.Random
    faults: list[str] = field(default_factory=list)

    def start(self) -> Attempt:
        return Attempt.start(self.world, self.run_dir)

    @property
    def output(self) -> str:
        return log_of(self.world, self.run_dir).read_text()

    def kill(self) -> str:
        """Send SIGKILL during a phase, and in a third of the trials again while the run resumes."""
        where, _ = self._signal_in_phase(signal.SIGKILL)
        if (again := self.rng.random() * 3) < 1:
            attempt = self.start()
            time.sleep(again * self.undisturbed.seconds / 2)
            attempt.send(signal.SIGKILL)
            attempt.end()
        return where

    def stop(self) -> str:
        """Send SIGTERM: the run finishes the step, saves, and its last line says how to continue."""
        where, code = self._signal_in_phase(signal.SIGTERM)
        last = self.output.splitlines()[-1]
        if code != 130 or "run the same command again to continue" not in last:
            self.faults.append(f"exit code {code} and last line {last!r} after SIGTERM")
        return where

    def fill(self) -> str:
        """Leave room for a part of the run on the disk: it must fail with one message and no traceback."""
        disk = os.statvfs(self.run_dir.parent)
        room = self.rng.randrange(self.undisturbed.pages) * 4096
        ballast = self.run_dir.with_name("ballast")
        ballast.write_bytes(bytes(disk.f_bavail * disk.f_bsize - room))
        code, _ = self.start().end()
        ballast.unlink()
        errors = [line for line in self.output.splitlines() if line.startswith("error:")]
        if code not in (0, 2) or len(errors) != bool(code) or "Traceback" in self.output:
            self.faults.append(f"exit code {code} and errors {errors} on a full disk")
        return f"{room // 1024} KiB left, exit code {code}"

    def _signal_in_phase(self, number: signal.Signals) -> tuple[str, int]:
        """Return where the signal struck and the exit code. If the run ended first, retry with half the delay."""
        phases = list(self.undisturbed.durations)
        phase = phases[self.number % len(phases)]
        entry = self.rng.randint(1, self.undisturbed.entries[phase])
        delay = self.rng.random() * self.undisturbed.durations[phase]
        while True:
            attempt = self.start()
            attempt.wait_for(MARKS[phase], entry)
            time.sleep(delay)
            attempt.send(number)
            code, rest = attempt.end()
            if code != 0:
                return phase if MARKS[phase].lower() not in rest else f"after {phase}", code
            new_run(self.run_dir)
            delay /= 2

    def finish(self, compared: Callable[[str], bool]) -> None:
        """Run to the end and compare the files."""
        code, _ = self.start().end()
        if code:
            self.faults.append(f"exit code {code} when resumed, see {log_of(self.world, self.run_dir)}")
            return
        expected, actual = self.undisturbed.files, fingerprint(self.run_dir)
        names = filter(compared, sorted(expected.keys() | actual))
        self.faults += [name for name in names if expected.get(name) != actual.get(name)]
        if not self.faults:
            shutil.rmtree(self.run_dir)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=100, help="trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--by", choices=("kill", "stop", "fill"), default="kill", help="SIGKILL, SIGTERM or a full disk"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--amend", metavar="STAGE", help="make the changes with --amend, of a run killed in this stage")
    parser.add_argument("--world", type=Path, help="an empty directory to work in; failed trials stay there")
    parser.add_argument("--runs", type=Path, help="a directory for the runs, on a small disk for --by fill")
    arguments = parser.parse_args()
    world = Path(arguments.world or tempfile.mkdtemp(prefix="crashtest-")).resolve()
    world.mkdir(parents=True, exist_ok=True)
    runs = (arguments.runs or world).resolve()
    prepare(world)
    global _half_done
    if arguments.amend:
        _half_done = kill_in(arguments.amend, world)
        _arguments.append("--amend")
    _arguments.extend(word for override in arguments.set for word in ("--set", override))
    undisturbed = Undisturbed.run(world)
    print(
        f"undisturbed: {undisturbed.seconds:.1f} s, {len(undisturbed.files)} files; entries: {undisturbed.entries}",
        flush=True,
    )
    struck, failed = Counter[str](), 0
    for number in range(arguments.n):
        rng = random.Random(f"{arguments.seed}/{number}")
        trial = Trial(world, new_run(runs / f"trial-{number}"), number, undisturbed, rng)
        where = getattr(trial, arguments.by)()
        # A stop adds a checkpoint, and a full disk may prevent one.
        trial.finish(lambda name: arguments.by == "kill" or "/checkpoints/" not in name)
        struck[where] += 1
        failed += bool(trial.faults)
        if trial.faults:
            print(f"trial {number}, struck in {where}: {', '.join(trial.faults)}", flush=True)
    print("struck in " + ", ".join(f"{where}: {n}" for where, n in struck.most_common()))
    if not failed and arguments.world is None:
        shutil.rmtree(world)
    print(f"crashtest: {arguments.n - failed}/{arguments.n} identical")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

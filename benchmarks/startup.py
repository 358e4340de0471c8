"""Compare the time from the command to the first training step: `r1kit run` and a minimal TRL script.

make bench NAME=startup

Both start Python, load sprout-base, sample 16 completions of 32 prompts (up to 160 tokens), grade, and update once. The
recipe is only the RL stage of sprout-zero: the complete recipe evaluates the base model first, the TRL script does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import tomli_w
from compare import ALLOCATOR, QUIET, ROOT, Turns, arguments, finish, say, table, worker
from grpo_step import Size, trl_trainer

FULL, QUICK = Size(32, 16, 160), Size(4, 4, 16)
TIMEOUT = 900  # seconds


def ours(directory: Path, size: Size) -> float:
    """Return the seconds from starting `r1kit run` until metrics.jsonl has its first row."""
    recipe = tomllib.loads((ROOT / "recipes" / "sprout-zero.toml").read_text())
    stage = recipe["stage"]["zero"]
    stage |= {"prompts_per_step": size.prompts, "num_generations": size.answers, "max_completion_length": size.tokens}
    path, run = directory / "zero.toml", directory / "run"
    path.write_text(tomli_w.dumps({"name": "zero", "stage": {"zero": stage}}))
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "r1kit", "run", str(path), "--run-dir", str(run)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **ALLOCATOR, **QUIET},
    )
    log = run / "stages" / "zero" / "metrics.jsonl"
    while not (log.exists() and log.stat().st_size):
        if process.poll() is not None or time.monotonic() - start > TIMEOUT:
            raise SystemExit(f"r1kit run {path} ended or timed out before its first step")
        time.sleep(0.02)
    seconds = time.monotonic() - start
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return seconds


def trl(size: Size) -> None:
    """Train one step, as a user's script would, and report."""
    from transformers import TrainerCallback

    from r1kit.model.reference import resolve_model

    turns = Turns()

    class Once(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.done()

    with TemporaryDirectory() as directory:
        trl_trainer(resolve_model("sprout-base"), size, [Once()], Path(directory)).train()


def main() -> None:
    args = arguments(__doc__).parse_args()
    size = QUICK if args.quick else FULL
    if args.worker:
        return trl(size)
    seconds: dict[str, list[float]] = {"r1kit": [], "TRL": []}
    for _ in range(1 if args.quick else args.repeats):
        with TemporaryDirectory() as directory:
            seconds["r1kit"].append(ours(Path(directory), size))
        with worker(__file__, "TRL", *(["--quick"] if args.quick else [])) as peer:
            seconds["TRL"].append(peer.seconds_to_first)
        say(str(seconds))
    medians = {name: median(times) for name, times in seconds.items()}
    page = table(
        ["", "command to first step, s", "fastest", "slowest"],
        [[name, medians[name], min(times), max(times)] for name, times in seconds.items()],
    )
    finish(
        "startup", medians["r1kit"], medians["TRL"], "s to the first step", page, seconds, args.quick,
        more_is_better=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()

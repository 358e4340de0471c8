"""`r1kit watch` in another process, and a run that grows while it is watched: a writer with the real log classes."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from run_factory import make_run, rl_row, rollout_rows

import r1kit
from r1kit.data.store import write_jsonl
from r1kit.metrics.log import MetricsLog

STEPS = 60


@contextmanager
def watching(*runs: Path) -> Iterator[str]:
    """Start `r1kit watch RUN ...` on a free port, and yield its URL."""
    environment = {**os.environ, "PYTHONPATH": str(Path(r1kit.__file__).parents[1])}
    command = [sys.executable, "-m", "r1kit", "watch", *map(str, runs), "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = re.search(r"http://\S+", process.stderr.readline())
        assert url is not None
        yield url[0]
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


class GrowingRun:
    """A run whose stage `zero` is under way, at step 10 of STEPS. Every problem is drawn every ten steps."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path = make_run(path, steps=10)
        self.stage = path / "stages/zero"
        (self.stage / "artifact.json").unlink()
        for directory in (path / "stages/after", self.stage / "rollouts"):
            shutil.rmtree(directory)
        recipe = path / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("steps = 10", f"steps = {STEPS}"))
        (self.stage / "metrics.jsonl").unlink()
        self.log, self.random, self.step = MetricsLog(self.stage / "metrics.jsonl"), random.Random(seed), 0
        self.train(10)

    def train(self, steps: int, **metrics: object) -> None:
        """Log steps, with completions at every fifth."""
        for _ in range(steps):
            self.step += 1
            if self.step % 5 == 0:
                write_jsonl(self.stage / f"rollouts/step_{self.step:06d}.jsonl", self._rollouts())
            self.log.append(rl_row(self.step, self.random) | metrics)

    def _rollouts(self) -> list[dict]:
        rows = rollout_rows(self.step, STEPS, self.random, "")
        for row in rows:
            row["prompt_id"] = f"problem-{self.step % 10}-{row['prompt_id'].rpartition('-')[2]}"
        rows[0] |= {"finish_reason": "length", "completion": "Let me think about", "extracted": None}
        rows[1] |= {"completion": "先算十位，再算个位，然后相加得到结果 sum", "language": "en"}
        return rows

"""Weights & Biases: a project for each recipe, a group for each run. Login, WANDB_MODE and its other settings apply."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1kit.console import say
from r1kit.errors import require
from r1kit.trackers.base import Row, TrackedStage

PACKAGE = "wandb"


def open_run(stage: TrackedStage, sent: int) -> _Run:
    """Start or resume the run of a stage. It gets metrics and config only: no code, console output or host data."""
    wandb = require(PACKAGE, "wandb")
    settings = wandb.Settings(
        console="off", disable_code=True, disable_git=True, x_disable_meta=True, x_disable_stats=True, silent=True
    )
    run = wandb.init(
        id=stage.id,
        resume="allow",
        reinit="create_new",  # stages that are open at the same time
        project=os.environ.get("WANDB_PROJECT", stage.project),
        group=os.environ.get("WANDB_RUN_GROUP", stage.run),
        job_type=stage.config["kind"],
        name=stage.title,
        config={**stage.config, "recipe_toml": stage.recipe},
        settings=settings,
    )
    if run.url is not None:  # None offline
        say(f"{stage.title}: {run.url}")
    return _Run(run)


def where(folder: Path) -> str:
    """Return where the runs are."""
    if os.environ.get("WANDB_MODE") == "offline":
        return f"wandb sync {os.environ.get('WANDB_DIR', '.')}/wandb/offline-run-*"
    return os.environ.get("WANDB_BASE_URL", "https://wandb.ai")


class _Run:
    def __init__(self, run: Any) -> None:
        self.run = run
        self.last_step = run.step - 1 if run.resumed else None  # offline runs are never resumed, only added to

    def log(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.run.log(dict(row.values), step=row.step)

    def close(self, is_finished: bool) -> None:
        self.run.finish(exit_code=0 if is_finished else 1)

"""Trackio: a local database, or the server or Space that TRACKIO_SERVER_URL or TRACKIO_SPACE_ID names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from r1kit.errors import require
from r1kit.trackers.base import Row, TrackedStage

PACKAGE = "trackio"


def open_run(stage: TrackedStage, sent: int) -> _Run:
    """Start the run of a stage, or continue the one of its name."""
    with redirect_stdout(sys.stderr):
        run = require(PACKAGE, "trackio").init(
            project=stage.project,
            name=f"{stage.run}-{stage.name}-{stage.id}",
            group=stage.run,
            config={**stage.config, "recipe_toml": stage.recipe},
            resume="allow",
            embed=False,
            auto_log_gpu=False,  # of this process, which does not train
            auto_log_cpu=False,
        )
    return _Run(run)


def where(folder: Path) -> str:
    """Return the command that shows the runs."""
    return "trackio show"


class _Run:
    last_step = None  # Trackio writes in the background

    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.run.log(dict(row.values), step=row.step)

    def close(self, is_finished: bool) -> None:
        with redirect_stdout(sys.stderr):
            self.run.finish()

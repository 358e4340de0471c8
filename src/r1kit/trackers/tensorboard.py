"""TensorBoard: event files in RUN/trackers/tensorboard/STAGE. They are written without torch or TensorBoard itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1kit.errors import require
from r1kit.trackers.base import Row, TrackedStage, plain_name

PACKAGE = "tensorboardX"


def open_run(stage: TrackedStage, sent: int) -> _Run:
    """Start the event files of a stage, or add to them."""
    folder = stage.folder / stage.name
    is_new = sent < 0
    if is_new:
        shutil.rmtree(folder, ignore_errors=True)  # of a stage that has been replaced
    writer = require(PACKAGE, "tensorboard").SummaryWriter(
        str(folder),
        purge_step=None if is_new else sent + 1,  # TensorBoard ignores what a killed process wrote of later steps
        filename_suffix=f".{sent + 1:08}",  # else a file of the same second would be replaced
    )
    if is_new:
        writer.add_text("recipe", _indented(stage.recipe))
        writer.add_text("config", _indented(json.dumps(stage.config, indent=1, ensure_ascii=False)))
    return _Run(writer)


def where(folder: Path) -> str:
    """Return the command that shows the runs."""
    return f"tensorboard --logdir {folder}"


class _Run:
    last_step = None  # the files are only written

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def log(self, rows: Sequence[Row]) -> None:
        for row in rows:
            for name, value in row.values.items():
                self.writer.add_scalar(plain_name(name), value, row.step, row.time)
        self.writer.flush()

    def close(self, is_finished: bool) -> None:
        self.writer.close()


def _indented(text: str) -> str:
    """Return text as a code block of Markdown."""
    return "\n".join(f"    {line}" for line in text.splitlines())

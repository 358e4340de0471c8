"""Follow a run with trackers: one process for each, so that none can slow, break or change the run."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from r1kit.console import heartbeat, say, warn
from r1kit.run_dir import RunDir
from r1kit.types import TrackerName

WAIT_SECONDS = 60.0  # at the end of the run, for the last rows
INTERRUPTED_SECONDS = 5.0  # at the end of one that failed or was interrupted


@contextmanager
def tracked(run: RunDir, names: Sequence[TrackerName]) -> Iterator[None]:
    """Send to trackers what the block logs. Their errors are shown; the run goes on."""
    followers = [_Follower(run, name) for name in names]
    patience = INTERRUPTED_SECONDS
    try:
        yield
        patience = WAIT_SECONDS
    finally:
        for follower in followers:
            follower.end()
        for follower in followers:
            follower.wait(patience)


class _Follower:
    """The process `r1kit track RUN --to NAME --follow`. It goes on until its stdin closes, however the run ends."""

    def __init__(self, run: RunDir, name: TrackerName) -> None:
        self.name = name
        self.command = f"r1kit track {run.path} --to {name}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "r1kit", "track", str(run.path), "--to", name, "--follow"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            start_new_session=True,  # ^C is for the run
        )
        self.reader = threading.Thread(target=self._show, name=f"track {name}", daemon=True)
        self.reader.start()

    def _show(self) -> None:
        """Print what the process prints, above the progress bars, and that it failed."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            say(f"{self.name}: {line.rstrip()}")
        if self.process.wait():
            warn(f"{self.name} gets no more of this run. The run goes on; send the rest with {self.command}")

    def end(self) -> None:
        """Let the process send the last rows and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, seconds: float) -> None:
        """Wait until the process has ended, but not for long: it also ends without the run."""
        with heartbeat(f"sending the last metrics to {self.name}"):
            self.reader.join(seconds)
        if self.reader.is_alive():
            warn(f"{self.name} is still being sent to. If rows are missing later: {self.command}")

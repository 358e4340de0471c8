"""Follow a JSONL log that another process writes: each row is read once, while the log grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GUARD = 1024  # bytes before the position that show whether they are still the ones that were read


class Tail:
    """The rows of a log that have not been read yet.

    A resumed run truncates its log to a checkpoint and may have grown it beyond the position before anyone looks, so
    the length alone does not show it: the last bytes that were read are compared. Rows of timings differ each time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0  # complete lines that are no JSON objects
        self._position = 0
        self._last = b""  # the GUARD bytes before the position

    def rewind_if_rewritten(self) -> bool:
        """Return whether the log no longer begins with the rows that were read, and start over if so."""
        if self._position == 0:
            return False
        try:
            with self.path.open("rb") as file:
                file.seek(self._position - len(self._last))
                is_same = file.read(len(self._last)) == self._last
        except FileNotFoundError:
            is_same = False
        if not is_same:
            self.rewind()
        return not is_same

    def rewind(self) -> None:
        """Start over."""
        self.damaged, self._position, self._last = 0, 0, b""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows after the position. A last line without a newline is left for the next call."""
        if not self.path.is_file():
            return
        with self.path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                self._last = (self._last + line)[-GUARD:]
                if (row := parse_row(line)) is not None:
                    yield row
                else:
                    self.damaged += bool(line.strip())


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line of JSON; None if it holds none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None

"""Runs a tutorial as a reader would: its code blocks in order, in an empty directory.

- A block with `title="FILE"` is written to FILE.
- A `bash` block is run. `<!-- test: COMMAND -->` on the line before it names another command for the test, such as the
  same one with fewer steps; with nothing after the colon, the block is left out.
- A `text` block is what the last command printed: each of its lines must be among those printed, apart from numbers and
  hashes. A line `...` stands for lines left out.
- Other blocks, such as a model's answers, are not compared.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r'^(?:<!-- test:(?P<instead>.*?)-->\n)?```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"sha256 [0-9a-f]{12,64}\b|[-+]?\d[\d.,:]*")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a page."""

    language: str
    title: str | None  # the file that it is
    code: str
    instead: str | None  # the command of the test


def blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page."""
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        instead = block["instead"]
        yield Block(block["language"], block["title"], block["code"], None if instead is None else instead.strip())


def run_tutorial(page: Path, directory: Path, environment: Mapping[str, str], timeout: float) -> int:
    """Run a page in a directory, and return how many commands ran. AssertionError where one fails or prints others."""
    printed, commands = "", 0
    for block in blocks(page):
        if block.title is not None:
            (directory / block.title).write_text(block.code, encoding="utf-8")
        elif block.language == "bash":
            script = block.code if block.instead is None else block.instead
            printed = run(script, directory, environment, timeout)
            commands += bool(script)
        elif block.language == "text":
            assert missing(block.code, printed) == [], f"{page.name} shows other lines than were printed:\n{printed}"
    return commands


def run(script: str, directory: Path, environment: Mapping[str, str], timeout: float) -> str:
    """Run a script of bash, and return all that it prints. AssertionError if one of its commands fails.

    Ends what the script leaves in the background, such as a server.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        bash = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,  # a file, because a pipe would stay open as long as a server in the background
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            returncode = bash.wait(timeout)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(bash.pid, signal.SIGKILL)
        printed.seek(0)
        output = printed.read()
    assert returncode == 0, f"{script}\n{output}"
    return output


def missing(shown: str, printed: str) -> list[str]:
    """Return the lines of a page that were not printed."""
    known = set(map(without_numbers, printed.splitlines()))
    return [line for line in shown.splitlines() if line != "..." and without_numbers(line) not in known]


def without_numbers(line: str) -> str:
    """Return a line with # for each number and hash, and single spaces."""
    return " ".join(NUMBER.sub("#", line).split())

"""The heartbeat of long waits."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterator

import pytest

from r1kit import console
from r1kit.console import heartbeat, progress


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(console, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(console, "HEARTBEAT_LIMIT", 0.2)
    yield
    assert not console._waits and not [t for t in threading.enumerate() if t.name == "heartbeat"], "nothing is left"


def printed(capsys: pytest.CaptureFixture[str], text: str, count: int = 1) -> str:
    """Return what is printed until it contains the text that often, or for 60 seconds."""
    output, deadline = "", time.monotonic() + 60
    while output.count(text) < count and time.monotonic() < deadline:
        time.sleep(0.01)
        output += capsys.readouterr().err
    return output


def test_long_wait_is_named_with_its_duration(capsys: pytest.CaptureFixture[str]) -> None:
    left = iter((3, 2, *[1] * 99))
    with heartbeat(lambda: f"grading: {next(left)} left"):
        lines = printed(capsys, "\n", 2).splitlines()
    assert re.fullmatch(r"still grading: 3 left \(0:0\d\)", lines[0])
    assert re.fullmatch(r"still grading: 2 left \(0:0\d\)", lines[1])
    capsys.readouterr()
    time.sleep(0.3)
    assert not capsys.readouterr().err, "nothing is printed after the block"


def test_short_wait_prints_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "HEARTBEAT_SECONDS", 30.0)
    with heartbeat("loading"):
        time.sleep(0.05)
    assert not capsys.readouterr().err


def test_innermost_long_wait_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 1), heartbeat("outer"):
        outer = ""
        for _ in range(1000):
            with heartbeat("short"):
                time.sleep(0.02)
            if "still outer" in (outer := outer + capsys.readouterr().err):
                break
        assert "still outer" in outer
        with heartbeat("inner"):
            printed(capsys, "still inner")  # until the inner wait is long, the outer one may speak
            inner = printed(capsys, "still inner", 2)
    assert set(re.findall(r"still (\w+)", inner)) == {"inner"}


def test_log_file_shows_progress_while_nothing_advances(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 7) as bar:
        bar.advance(2)
        assert printed(capsys, "train 2/7", 2).count("train 2/7") >= 2


def test_wait_that_fails_ends_its_heartbeat() -> None:
    with pytest.raises(KeyError), heartbeat("x"):
        raise KeyError


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (-12345.6, "-12,346"), (1e9, "1,000,000,000"), (54321, "54,321"), (999.94, "999.9"),
     (0.0123456, "0.01235"), (3e-6, "3e-06"), (0.0, "0"), (math.inf, "inf"), (math.nan, "nan")],
)  # fmt: skip
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert console.number(value) == text


def test_progress_line_has_no_exponents(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("train", 12345) as bar:
        bar.advance(1234, loss=23456.7, tokens=98765)
    assert re.search(r"train 1,234/12,345 .* loss 23,457  tokens 98,765$", capsys.readouterr().err)

"""A log that grows, is half-written, truncated, replaced or deleted while it is followed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1kit.metrics.tail import GUARD, Tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def append(log: Path, *steps: int, value: float = 0.5) -> None:
    with log.open("a") as file:
        file.writelines(json.dumps({"step": step, "value": value}) + "\n" for step in steps)


def read(tail: Tail) -> list[int]:
    return [row["step"] for row in tail.rows()]


def test_each_row_is_read_once(log: Path) -> None:
    tail = Tail(log)
    assert read(tail) == [] and not tail.rewind_if_rewritten()
    append(log, 1, 2)
    assert read(tail) == [1, 2] and read(tail) == []
    append(log, 3)
    assert not tail.rewind_if_rewritten() and read(tail) == [3]


def test_only_new_bytes_are_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(log, *range(5000))
    tail = Tail(log)
    assert len(read(tail)) == 5000
    append(log, 5000)
    read_bytes = 0
    opened = Path.open

    def counting(path: Path, mode: str) -> object:
        file = opened(path, mode)

        class Counter:
            def __enter__(self) -> Counter:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def seek(self, position: int) -> None:
                file.seek(position)

            def read(self, size: int) -> bytes:
                return self.count(file.read(size))

            def __iter__(self):
                return map(self.count, file)

            def count(self, data: bytes) -> bytes:
                nonlocal read_bytes
                read_bytes += len(data)
                return data

        return Counter()

    monkeypatch.setattr(Path, "open", counting)
    assert not tail.rewind_if_rewritten() and read(tail) == [5000]
    assert read_bytes < 2 * GUARD


def test_half_written_line_waits_for_its_end(log: Path) -> None:
    tail = Tail(log)
    append(log, 1)
    with log.open("a") as file:
        file.write('{"step": 2, "val')
    assert read(tail) == [1]
    with log.open("a") as file:
        file.write('ue": 1}\n')
    assert not tail.rewind_if_rewritten() and read(tail) == [2]


def test_truncated_log_is_read_again(log: Path) -> None:
    tail = Tail(log)
    append(log, 1, 2, 3)
    read(tail)
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    assert tail.rewind_if_rewritten() and read(tail) == [1]


def test_log_that_was_truncated_and_grew_beyond_the_position_is_read_again(log: Path) -> None:
    tail = Tail(log)
    append(log, 1, 2, 3)
    read(tail)
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    append(log, 2, 3, 4, 5, value=0.25)
    assert tail.rewind_if_rewritten() and read(tail) == [1, 2, 3, 4, 5]


def test_log_that_was_written_again_with_the_same_rows_goes_on(log: Path) -> None:
    tail = Tail(log)
    append(log, 1, 2, 3)
    read(tail)
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    append(log, 2, 3, 4)
    assert not tail.rewind_if_rewritten() and read(tail) == [4]


def test_deleted_log_starts_over(log: Path) -> None:
    tail = Tail(log)
    append(log, 1)
    read(tail)
    log.unlink()
    assert tail.rewind_if_rewritten() and read(tail) == []
    append(log, 7)
    assert not tail.rewind_if_rewritten() and read(tail) == [7]


def test_damaged_lines_are_counted_and_left_out(log: Path) -> None:
    log.write_bytes(b'{"step": 1}\n{"st\n[1]\n\n\xff\n{"step": 2}\n')
    tail = Tail(log)
    assert read(tail) == [1, 2] and tail.damaged == 3

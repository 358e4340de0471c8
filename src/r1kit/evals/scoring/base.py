"""What the scorers of recorded outputs share: fields of rows, means, and the comparison with recorded verdicts."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.data.response import split_response
from r1kit.data.store import DataError

Row = Mapping[str, Any]

_NAMES = {str: "a text", list: "a list", dict: "an object", bool: "true or false", int: "a whole number"}


@dataclass(frozen=True)
class Options:
    """How recorded outputs are scored."""

    against: str | None = None
    """Field with the recorded verdict."""
    problems: Path | None = None
    """File with the benchmark's problems, for outputs that name them by key."""
    near: Path | None = None
    """The scored file; problems are looked for near it."""


class Scorer(ABC):
    """Scores the rows of one benchmark one at a time and keeps only sums, so memory does not grow with the file."""

    def __init__(self, options: Options) -> None:
        self.against = options.against
        self.n = 0
        self.agreed = 0

    @abstractmethod
    def add(self, row: Row) -> None:
        """Score a row. DataError if it lacks a field or has one of the wrong type."""

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """Return the metrics of all rows."""

    def agreement(self) -> float | None:
        """Return the share of rows with our verdict recorded; None without a field to compare with."""
        return None if self.against is None or not self.n else self.agreed / self.n

    def compare(self, row: Row, verdicts: Mapping[str, Any], tolerance: float = 0.0) -> None:
        """Count a row, and whether the recorded field is our verdict. DataError if it is a list and ours is none.

        Args:
            row: The row.
            verdicts: Our verdicts by name. The field is compared with the one of its name, a field of true and false
                with `correct` if there is one, and any other field with the first.
            tolerance: Largest difference of equal numbers.
        """
        self.n += 1
        if self.against is not None:
            recorded = field(row, self.against)
            ours = _counterpart(self.against, recorded, verdicts)
            if isinstance(recorded, list | dict) and isinstance(ours, bool | int | float | str):
                raise DataError(f"{self.against} = {shown(recorded)}: is no verdict; ours is {shown(ours)}")
            self.agreed += same(recorded, ours, tolerance)


def _counterpart(name: str, recorded: Any, verdicts: Mapping[str, Any]) -> Any:
    if name not in verdicts and isinstance(recorded, bool) and "correct" in verdicts:
        name = "correct"
    return verdicts[name] if name in verdicts else next(iter(verdicts.values()))


def same(recorded: Any, ours: Any, tolerance: float = 0.0) -> bool:
    """Return whether two verdicts are equal: lists item by item, numbers within the tolerance."""
    if isinstance(recorded, list | tuple) and isinstance(ours, list | tuple):
        return len(recorded) == len(ours) and all(same(a, b, tolerance) for a, b in zip(recorded, ours, strict=True))
    if isinstance(recorded, int | float) and isinstance(ours, int | float):
        return abs(recorded - ours) <= tolerance
    return bool(recorded == ours)


class Means:
    """Running means by name."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, **values: float) -> None:
        """Add one value to each of these means."""
        for name, value in values.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value, count + 1

    def percent(self, digits: int | None = None) -> dict[str, float]:
        """Return the means times 100, rounded to `digits` if given."""
        means = {name: 100 * total / count for name, (total, count) in self._sums.items()}
        return means if digits is None else {name: round(mean, digits) for name, mean in means.items()}


class Groups:
    """Running means by name over all rows, and by group, such as by model and by category."""

    def __init__(self) -> None:
        self.all = Means()
        self._tables: dict[str, dict[str, Means]] = {}

    def add(self, groups: Mapping[str, str | None], **values: float) -> None:
        """Add one value to each mean; `groups` maps a table to the row's group, or to None if it has none."""
        self.all.add(**values)
        for table, name in groups.items():
            if name is not None:
                self._tables.setdefault(table, {}).setdefault(name, Means()).add(**values)

    def percent(self) -> dict[str, Any]:
        """Return the means in percent, and a table for each kind of group."""
        tables = {
            table: {name: means.percent() for name, means in sorted(groups.items())}
            for table, groups in self._tables.items()
        }
        return {**self.all.percent(), **tables}


def field(row: Row, *names: str) -> Any:
    """Return the first of these fields that the row has. DataError if it has none."""
    for name in names:
        if name in row:
            return row[name]
    raise DataError(f"the field {' or '.join(names)} is missing: the fields are {', '.join(row) or '(none)'}")


def typed(row: Row, kind: type, *names: str) -> Any:
    """Return the first of these fields that the row has. DataError if it is not of this type."""
    value = field(row, *names)
    if not isinstance(value, kind):
        name = next(name for name in names if name in row)
        raise DataError(f"{name} = {shown(value)}: must be {_NAMES[kind]}")
    return value


def shown(value: Any) -> str:
    """Return a value as JSON writes it, shortened for a message."""
    return json.dumps(value, ensure_ascii=False, default=str)[:80]


def numbers(row: Row, name: str) -> list[float]:
    """Return a field that is a list of numbers. DataError for any other."""
    values: list[float] = typed(row, list, name)
    if wrong := [value for value in values if isinstance(value, bool) or not isinstance(value, int | float)]:
        raise DataError(f"{name} contains {shown(wrong[0])}: must be a list of numbers")
    return values


def strings(row: Row, name: str) -> list[str]:
    """Return a field that is a list of texts. DataError for any other."""
    values: list[str] = typed(row, list, name)
    if wrong := [value for value in values if not isinstance(value, str)]:
        raise DataError(f"{name} contains {shown(wrong[0])}: must be a list of texts")
    return values


def group_of(row: Row, name: str) -> str | None:
    """Return a field that names the row's group; None if the row does not have it."""
    return None if row.get(name) is None else str(row[name])


def answer_text(row: Row, *others: str) -> str:
    """Return what a recorded output says after its thinking; "" if the thinking never ends.

    The output is the field `output`, `response` or, in our own samples, `completion`, or the only text of a list there.
    `others` are fields that may stand in for it; they are named if all are missing.
    """
    names = ("output", "response", "completion", *others)
    text = field(row, *names)
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    if not isinstance(text, str):
        name = next(name for name in names if name in row)
        raise DataError(f"{name} = {shown(text)}: must be a text, or a list of one text")
    if "think>" not in text:
        return str(text)
    parts = split_response(text, think_open=False)
    return "" if parts.unfinished else parts.summary

"""The logged rows of a stage, as the watchdogs read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

Row = Mapping[str, Any]


def is_number(value: object) -> TypeGuard[float]:
    """Return whether the value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


@dataclass(frozen=True)
class History:
    """The rows of a stage's metrics so far, oldest first; the last one is the current update."""

    rows: Sequence[Row]
    dtype: str = "float32"
    max_weights_lag: int = 0  # intended updates between the weights that sample and those that are trained

    @property
    def last(self) -> Row:
        """The row of the current update."""
        return self.rows[-1]

    @cached_property
    def rollouts(self) -> list[Row]:
        """The first row of every rollout, or all rows of a stage without rollouts.

        All updates of a rollout log the same `tokens`, and the same metrics of the rollout.
        """
        counts = [None, *(row.get("tokens", row["step"]) for row in self.rows)]
        rows = [row for row, now, before in zip(self.rows, counts[1:], counts, strict=False) if now != before]
        return [row for row in rows if row["step"] or "tokens" in row]  # step 0 is an evaluation before any rollout

    def values(self, metric: str) -> list[float]:
        """Return the metric's value in every rollout that has it."""
        return [row[metric] for row in self.rollouts if is_number(row.get(metric))]

    def last_values(self, metric: str, rollouts: int) -> list[float]:
        """Return the metric's values in the last `rollouts` rollouts; empty when there are fewer rollouts."""
        return self.values(metric)[-rollouts:] if len(self.rollouts) >= rollouts else []

"""The best evaluation of a stage, by which it can choose the model that it publishes (`best_metric`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r1kit.metrics.history import is_number


@dataclass(slots=True)
class Best:
    """The best evaluation so far. A checkpoint holds it, and the checkpoint of its step is kept."""

    metric: str | None  # None if the stage publishes its last model
    step: int | None = None  # updates before the evaluation; None before the first
    value: float = 0.0

    def offer(self, step: int, measured: Mapping[str, Any]) -> bool:
        """Remember an evaluation if it is the best. Values that are equal, missing, NaN or infinite are not."""
        value = measured.get(self.metric or "")
        if not is_number(value) or (self.step is not None and not self._is_better(value)):
            return False
        self.step, self.value = step, value
        return True

    def _is_better(self, value: float) -> bool:
        return value < self.value if str(self.metric).endswith("loss") else value > self.value

    def pack(self) -> dict[str, Any]:
        """Return what a checkpoint holds: {} before the first evaluation."""
        return {"best": {"metric": self.metric, "step": self.step, "value": self.value}} if self.step else {}

    def restore(self, progress: Mapping[str, Any]) -> None:
        """Restore what `pack` returned, unless it is of another metric."""
        saved = progress.get("best")
        if saved and saved["metric"] == self.metric:
            self.step, self.value = saved["step"], saved["value"]

    def instead_of(self, last: int) -> int | None:
        """Return the step to publish if it is not the last one."""
        return None if self.step == last else self.step

    def summary(self) -> dict[str, Any]:
        """Return what the artifact of the stage records: the published step, and its value; {} for the last model."""
        return {"published_step": self.step, self.metric: self.value} if self.step and self.metric else {}

"""The `preference` stage: reward models."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from r1kit.config.stage import MemoryUse, Output
from r1kit.config.supervised import Supervised


class Preference(Supervised):
    """A reward model: the policy with a scalar head (paper: the helpful and the safety reward model)."""

    module: ClassVar[str] = "r1kit.stages.preference"
    output: ClassVar[Output] = "reward model"
    legend: ClassVar[dict[str, str]] = {"loss": "loss"}

    kind: Literal["preference"]
    objective: Literal["pairwise", "pointwise"] = "pairwise"
    """`pairwise` learns from chosen and rejected responses, `pointwise` from safe and unsafe ones. Paper: pairwise
    (helpful), pointwise (safety)."""
    scores: Literal["summary", "whole"] = "summary"
    """Part of a response that is scored: the text after the reasoning, or all. Paper: summary (helpful), whole
    (safety)."""
    learning_rate: float = Field(6e-6, gt=0)
    """Learning rate after warm-up. Paper: 6e-6."""
    epochs: int = Field(1, gt=0)
    """Passes over the records. Paper: 1."""
    context_length: int = Field(8192, gt=1)
    """Longest response with its prompt in tokens; longer records are left out. Paper: 8,192."""
    sequences_per_step: int = Field(256, gt=0)
    """Records per optimizer update. Paper: 256."""

    @property
    def row_tokens(self) -> int:
        """Capacity of a packed row in tokens: both responses of a pair share a row."""
        return max(self.context_length * self._texts, super().row_tokens)

    @property
    def _texts(self) -> int:
        """The number of texts of a record."""
        return 2 if self.objective == "pairwise" else 1

    @override
    def evaluated_metrics(self) -> list[str]:
        return [*super().evaluated_metrics(), *(["eval/accuracy"] if self.held_out else [])]

    @override
    def memory_use(self) -> MemoryUse:
        use, step_tokens = super().memory_use(), self.sequences_per_step * self.context_length * self._texts
        return replace(use, trained_tokens=min(self.row_tokens, step_tokens), step_tokens=step_tokens, has_logits=False)

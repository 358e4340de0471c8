"""What the stages that train on records share."""

from __future__ import annotations

from pydantic import Field
from typing_extensions import override

from r1kit.config.base import Template
from r1kit.config.stage import MemoryUse, WithModel
from r1kit.config.training import Published, Training

MIN_ROW_TOKENS = 8192


class Supervised(WithModel, Training, Published):
    """Complete epochs over records that are packed into rows."""

    data: list[str] = Field(min_length=1)
    """Records: earlier stages, `world:NAME`, files as in prompt sources, or datasets on the Hugging Face hub."""
    template: Template = "chat"
    """Prompt template."""
    epochs: int = Field(2, gt=0)
    """Passes over the records. Paper: 2 to 3."""
    context_length: int = Field(32_768, gt=1)
    """Longest record in tokens; longer records are left out. Paper: 32,768."""
    sequences_per_step: int = Field(128, gt=0)
    """Records per optimizer update. Paper: 128 (64 in distillation)."""
    held_out: int = Field(256, ge=0)
    """Records to measure on instead of training on them, at most a tenth of all. Paper: undisclosed."""
    save_every: int = Field(50, gt=0)
    """Steps between checkpoints."""

    @property
    def row_tokens(self) -> int:
        """Capacity of a packed row in tokens. It decides the memory and never changes the gradient."""
        return max(self.context_length, MIN_ROW_TOKENS)

    @override
    def evaluated_metrics(self) -> list[str]:
        return ["eval/loss"] if self.held_out else []

    @override
    def data_read(self) -> list[str]:
        return self.data

    @override
    def counts(self) -> dict[str, int]:
        return {
            "epochs": self.epochs,
            "sequences_per_step": self.sequences_per_step,
            "context_length": self.context_length,
        }

    @override
    def describe(self) -> str:
        records = f"{self.sequences_per_step} records a step of at most {self.context_length:,} tokens"
        return f"{self.epochs} epochs, {records}"

    @override
    def memory_use(self) -> MemoryUse:
        step_tokens = self.sequences_per_step * self.context_length
        trained = min(self.row_tokens, step_tokens)
        return MemoryUse(trained, step_tokens, text_tokens=self.context_length, saves=True)

    @override
    def longest_text(self) -> tuple[str, int]:
        return "context_length", self.context_length

"""What the stages that sample a fixed number of completions per problem share."""

from __future__ import annotations

from pydantic import Field
from typing_extensions import override

from r1kit.config.base import Sampling
from r1kit.config.stage import Amount, MemoryUse, StageConfig


class Sampled(StageConfig, Sampling):
    """Completions of a model that is not trained."""

    model: str
    samples: int = Field(gt=0)
    """Completions per problem."""
    max_completion_length: int = Field(32_768, gt=0)
    """Longest completion in tokens. Paper: 32,768."""

    @override
    def counts(self) -> dict[str, int]:
        return {"samples_per_problem": self.samples}

    @override
    def describe(self) -> str:
        return f"{self.samples} samples per problem"

    @override
    def memory_use(self) -> MemoryUse:
        return MemoryUse(completions=None, completion_tokens=self.max_completion_length)

    @override
    def amounts(self) -> list[Amount]:
        return [Amount("completions", "per problem", {"samples": self.samples})]

    @override
    def longest_text(self) -> tuple[str, int]:
        return "max_completion_length", self.max_completion_length

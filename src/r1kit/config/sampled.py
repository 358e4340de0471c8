"""What the stages that sample a fixed number of completions per problem share."""

from __future__ import annotations

from pydantic import Field
from typing_extensions import override

from r1kit.config.base import Location, PromptSource, Sampling
from r1kit.config.stage import Amount, MemoryUse, StageConfig


class Sampled(StageConfig, Sampling):
    """Completions of a model that is not trained."""

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
        return MemoryUse(
            completions=self._completions_at_once(),
            samples=self.samples,
            completion_tokens=self.max_completion_length,
            truncates=self.top_p < 1 or self.top_k > 0,
        )

    def _completions_at_once(self) -> int | None:
        """Return how many completions a call of the engine samples; None if only `max_concurrent` bounds them."""
        limits = [source.limit for _, source in self.sampled_sources()]
        return None if None in limits else sum(limit for limit in limits if limit is not None) * self.samples

    def sampled_sources(self) -> list[tuple[Location, PromptSource]]:
        """Return the sources of the problems that are sampled."""
        return self.sources()

    @override
    def amounts(self) -> list[Amount]:
        return [Amount("completions", "per problem", {"samples": self.samples})]

    @override
    def longest_text(self) -> tuple[str, int] | None:
        return "max_completion_length", self.max_completion_length

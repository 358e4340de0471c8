"""The `evaluate` stage: benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import override

from r1kit.config.base import Episodes, Location, Prompting, PromptSource, Sampling, Scoring, Service, Template
from r1kit.config.sampled import Sampled
from r1kit.config.stage import Amount, MemoryUse, Output, benchmark_sources


class Protocol(Prompting, Sampling):
    """How completions are sampled to measure a model (paper: section 3)."""

    template: Template = "r1-zero"
    """Prompt template."""
    samples: int = Field(16, gt=0)
    """Completions per problem. Paper: 4 to 64."""
    temperature: float = Field(0.6, ge=0)
    """Divisor of the logits; 0 is greedy decoding. Paper: 0.6."""
    top_p: float = Field(0.95, gt=0, le=1)
    """Probability mass of the most likely tokens to sample from. Paper: 0.95."""
    max_completion_length: int = Field(32_768, gt=0)
    """Longest completion in tokens. Paper: 32,768."""


class Evaluate(Protocol, Sampled, Episodes, Scoring):
    """pass@1 as the mean over k samples, cons@k, format rate and length, by level (paper: section 3)."""

    module: ClassVar[str] = "r1kit.stages.evaluate"
    output: ClassVar[Output] = "results"

    kind: Literal["evaluate"]
    endpoint: Service | None = None
    """Endpoint of a model to measure instead of `model`, such as a teacher or a larger model. With the template `chat`,
    the default here, the endpoint applies its own; other templates need its `/completions`."""
    benchmarks: dict[str, list[PromptSource]] = Field(min_length=1)
    """Problems: the sources of each benchmark."""
    rewards: list[str] = Field([])
    """Functions of your own to report beside accuracy, `module:function`. The mean of each is one more metric."""

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("give either model, or endpoint with base_url and model")
        if self.environment and self.endpoint:
            raise ValueError("environment with endpoint: must be a model that is sampled here")
        return self

    @property
    def measured(self) -> str:
        """Name of the measured model."""
        return self.model or (self.endpoint.model if self.endpoint else "")

    @override
    def inputs(self) -> list[str]:
        return [*([f"{self.endpoint.model} at {self.endpoint.base_url}"] if self.endpoint else []), *super().inputs()]

    @override
    def memory_use(self) -> MemoryUse:
        return MemoryUse() if self.endpoint else super().memory_use()

    @override
    def amounts(self) -> list[Amount]:
        return [] if self.endpoint else super().amounts()

    @override
    def longest_text(self) -> tuple[str, int] | None:
        return None if self.endpoint else super().longest_text()

    @override
    def sources(self) -> list[tuple[Location, PromptSource]]:
        return benchmark_sources(self.benchmarks)

    @override
    def reward_tables(self) -> list[tuple[Location, Mapping[str, float]]]:
        return [(("rewards",), dict.fromkeys(self.rewards, 1.0))] if self.rewards else []

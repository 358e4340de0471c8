"""The `evaluate` stage: benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from r1kit.config.base import Location, Prompting, PromptSource, Sampling, Scoring, Template
from r1kit.config.sampled import Sampled
from r1kit.config.stage import Output, benchmark_sources


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


class Evaluate(Protocol, Sampled, Scoring):
    """pass@1 as the mean over k samples, cons@k, format rate and length, by level (paper: section 3)."""

    module: ClassVar[str] = "r1kit.stages.evaluate"
    output: ClassVar[Output] = "results"

    kind: Literal["evaluate"]
    model: str
    benchmarks: dict[str, list[PromptSource]] = Field(min_length=1)
    """Problems: the sources of each benchmark."""
    rewards: list[str] = Field([])
    """Functions of your own to report beside accuracy, `module:function`. The mean of each is one more metric."""

    @override
    def sources(self) -> list[tuple[Location, PromptSource]]:
        return benchmark_sources(self.benchmarks)

    @override
    def reward_tables(self) -> list[tuple[Location, Mapping[str, float]]]:
        return [(("rewards",), dict.fromkeys(self.rewards, 1.0))] if self.rewards else []

"""The `curate` stage: training data from a model's own completions."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from r1kit.config.base import Episodes, Location, Prompting, PromptSource, Service, Template
from r1kit.config.sampled import Sampled
from r1kit.config.stage import Output, benchmark_sources, prompt_sources


class Curate(Sampled, Episodes, Prompting):
    """Completions of a model, filtered, rewritten and mixed with other data (paper: cold start, 800k set)."""

    module: ClassVar[str] = "r1kit.stages.curate"
    output: ClassVar[Output] = "data"

    kind: Literal["curate"]
    model: str
    """Model to sample from, named as in other stages. Paper: R1-Zero (cold start), the RL checkpoint (second SFT)."""
    prompts: list[PromptSource] = Field(min_length=1)
    """Problems to answer."""
    makes: Literal["records", "pairs", "labels"] = "records"
    """`records` are prompt and response, for sft; `pairs` are chosen and rejected responses and `labels` are safe or
    unsafe responses, both for preference."""
    template: Template = "chat"
    """Prompt template."""
    samples: int = Field(4, gt=0)
    """Completions per prompt. Paper: undisclosed."""
    keep: int = Field(1, gt=0)
    """Most records to keep per prompt. Paper: undisclosed."""
    token_budget: int | None = Field(None, gt=0)
    """Sampled tokens after which no more prompts are started; unlimited by default."""
    rewriter: Literal["oracle:sprout", "oracle:rules"] | Service | None = None
    """Model that rewrites records into the readable format. The oracles are rules for the sprout worlds and for
    `world:instructions`. Paper: DeepSeek-V3."""
    judge: Literal["oracle:sprout"] | Service | None = None
    """Model that compares responses (`pairs`), labels them (`labels`) or grades problems with the verifier `judge`. The
    recipe's `judge` is the default for grading only. Paper: DeepSeek-V3."""
    data: list[str] = Field([])
    """Other records to mix in: `world:NAME`, earlier stages, files or datasets on the Hugging Face hub."""
    data_share: float = Field(0.25, gt=0, lt=1)
    """Share of `data` among all records. Paper: 0.25 (200k of 800k)."""
    benchmarks: dict[str, list[PromptSource]] = Field({})
    """Problems that no record may overlap with: the sources of each benchmark."""
    ngram: int = Field(10, gt=0)
    """Consecutive words in common that count as an overlap. Paper: 10."""

    @model_validator(mode="after")
    def _consistent(self) -> Curate:
        if self.makes != "records":
            if self.judge is None:
                raise ValueError(
                    f'makes = "{self.makes}" needs a judge: "oracle:sprout", or base_url and model of an endpoint'
                )
            if self.rewriter or self.data:
                raise ValueError(f'makes = "{self.makes}": rewriter and data are for records only; remove them')
        if self.environment and (self.makes != "records" or self.rewriter):
            given = "rewriter" if self.rewriter else f'makes = "{self.makes}"'
            raise ValueError(f"environment with {given}: episodes become records as they are; remove one of them")
        if self.makes == "pairs" and self.samples < 2:
            raise ValueError(f'samples = {self.samples}: must be at least 2 for makes = "pairs"')
        return self

    @override
    def data_read(self) -> list[str]:
        return self.data

    @override
    def sources(self) -> list[tuple[Location, PromptSource]]:
        return self.sampled_sources() + benchmark_sources(self.benchmarks)

    @override
    def sampled_sources(self) -> list[tuple[Location, PromptSource]]:
        return prompt_sources("prompts", self.prompts)

    @override
    def describe(self) -> str:
        return f"{self.samples} samples per prompt, filtered"

"""`StageConfig`, the base class of every kind of stage: all facts about a kind are declared here.

To add a kind of stage, write `config/NAME.py` with a subclass of `StageConfig` and `stages/NAME.py` with
`run(config, context) -> summary`. `config/recipe.py` imports every module of this package and collects the subclasses.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from r1kit.config.base import Location, PromptSource, Strict

PROMPT_TOKENS = 128  # assumed length of a prompt behind its template where memory is estimated
Output = Literal["model", "reward model", "data", "results"]


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a stage keeps in memory besides the weights. `plan` turns it into bytes."""

    trained_tokens: int = 0
    """Tokens of one micro-batch; 0 if the stage does not train."""
    step_tokens: int = 0
    """Tokens of a step. If they are not more, there is one micro-batch a step."""
    text_tokens: int = 0
    """Length of the longest text that attends to itself in training."""
    prompts: int = 0
    """Prompts that are computed once for many completions, and held with their activations."""
    saves: bool = False
    """Whether the stage goes on while a checkpoint is written."""
    has_logits: bool = True
    """Whether training predicts tokens."""
    has_reference: bool = False
    """Whether a frozen reference model is kept."""
    has_critic: bool = False
    """Whether a critic is trained beside the policy."""
    samples_ahead: bool = False
    """Whether the next rollout is sampled, by a copy of the weights, while the stage trains on one."""
    completions: int | None = 0
    """Completions sampled together; 0 if the stage does not generate, None for as many as `max_concurrent` allows."""
    samples: int = 1
    """Completions of one prompt."""
    completion_tokens: int = 0
    """Length of the longest completion."""
    truncates: bool = False
    """Whether top-p or top-k is used, for which probabilities are sorted."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What a stage holds in memory at the same time, as the product of keys."""

    what: Literal["completions", "tokens"]
    when: str
    """The occasion, such as "per rollout"."""
    factors: Mapping[str, int]
    """Key of the stage -> its value."""

    @property
    def total(self) -> int:
        """The product of the factors."""
        return math.prod(self.factors.values())


class StageConfig(Strict):
    """The configuration of one stage of a recipe."""

    module: ClassVar[str]
    """Module with `run(config, context) -> summary`."""
    output: ClassVar[Output]
    """What the stage makes for later stages."""
    legend: ClassVar[Mapping[str, str]] = {}
    """Name in the progress bar -> metric."""

    kind: str
    """Kind of the stage. It decides which other keys are allowed."""
    model: str | None = None
    """Model to start from: an earlier stage, a directory, a stage of another run (`runs/NAME/STAGE`), a model on the
    Hugging Face hub, or `sprout-base`."""
    seed: int | None = None
    """Seed of this stage; derived from the recipe's `seed` and the name of the stage by default."""

    @property
    def output_folder(self) -> Literal["model", "data"]:
        """Subdirectory of the stage that holds its output."""
        return "model" if self.output in ("model", "reward model") else "data"

    def models_read(self, stages: Container[str]) -> list[str]:
        """Return every model the stage reads: its initial model, and reward models that are names in `stages`."""
        return [] if self.model is None else [self.model]

    def data_read(self) -> list[str]:
        """Return the sources of records: earlier stages, `world:NAME`, files, datasets on the hub."""
        return []

    def sources(self) -> list[tuple[Location, PromptSource]]:
        """Return every prompt source with its key path in the stage, in the order of the keys."""
        return []

    def reward_tables(self) -> list[tuple[Location, Mapping[str, float]]]:
        """Return every table of reward weights with its key path in the stage."""
        return []

    def inputs(self) -> list[str]:
        """Return what the stage reads, for display."""
        benchmarks = [f"{at[1]}: {label(source)}" for at, source in self.sources() if at[0] == "benchmarks"]
        prompts = [label(source) for at, source in self.sources() if at[0] != "benchmarks"]
        return [*([self.model] if self.model else []), *prompts, *self.data_read(), *benchmarks]

    def counts(self) -> dict[str, int]:
        """Return the batch sizes and totals of the stage."""
        return {}

    def describe(self) -> str:
        """Return `counts` as text. It may have several lines."""
        return ", ".join(f"{key.replace('_', ' ')} = {value}" for key, value in self.counts().items())

    def memory_use(self) -> MemoryUse:
        """Return what the stage keeps in memory besides the weights."""
        return MemoryUse()

    def amounts(self) -> list[Amount]:
        """Return what the stage certainly holds in memory at the same time."""
        return []

    def longest_text(self) -> tuple[str, int] | None:
        """Return the key that bounds the length of a sequence, and its value in tokens; None for a new model."""
        return None

    def warnings(self) -> list[str]:
        """Return what is allowed but probably not intended."""
        return []


class WithModel(StageConfig):
    """A stage that cannot do without a model."""

    model: str


def prompt_sources(key: str, sources: list[PromptSource]) -> list[tuple[Location, PromptSource]]:
    """Return the sources of a list with their key paths."""
    return [((key, i), source) for i, source in enumerate(sources)]


def benchmark_sources(benchmarks: Mapping[str, list[PromptSource]]) -> list[tuple[Location, PromptSource]]:
    """Return the sources of a `benchmarks` table with their key paths."""
    return [(("benchmarks", name, i), source) for name, group in benchmarks.items() for i, source in enumerate(group)]


def label(source: PromptSource) -> str:
    """Return a source as shown in a plan."""
    return source.source if source.split == "train" else f"{source.source} ({source.split})"


def warmup_warnings(warmup_steps: int, steps: int) -> list[str]:
    """Return a warning if warm-up takes all steps."""
    return [f"warmup_steps = {warmup_steps} never ends within steps = {steps}"] if warmup_steps >= steps else []

"""The arguments of a stage besides its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r1kit.config import PromptSource
from r1kit.engine.base import EngineChoice
from r1kit.learn.world import ALONE, World
from r1kit.run_dir import StageDir


@dataclass(frozen=True, slots=True)
class Amended:
    """Where the present settings of a stage begin: at its start, or at the step at which they were last amended."""

    step: int = 0  # updates done before
    sequences: int = 0  # drawn in them, by stages that draw a fixed number for each
    is_comparable: bool = True  # whether evaluations before and after measure the same


@dataclass(frozen=True, slots=True)
class StageContext:
    """The arguments of a stage besides its config. Running a stage again on an unfinished `dir` resumes it."""

    name: str
    dir: Path  # the stage's own directory: it writes nowhere else
    seed: int
    dtype: str  # "float32" or "bfloat16"
    device: str  # "cpu" or "cuda"
    max_concurrent: int  # sequences generated at the same time, at most
    models: Mapping[str, Path]  # model reference in the recipe -> Hugging Face checkpoint directory
    data: Mapping[str, Path] = field(default_factory=dict)  # name of an earlier stage -> the records it published
    reward_workers: int = 1  # worker processes for rewards that are not plain rules
    grading: Mapping[str, Any] = field(default_factory=dict)  # rewards.services.Settings as a dict
    kv_cache_tokens: int | None = None  # in the KV cache at the same time; None for any number
    held_out: Mapping[str, Sequence[PromptSource]] = field(default_factory=dict)  # see `Recipe.held_out`
    world: World = ALONE  # the processes that run the stage together; the first alone writes to `dir`
    engine: EngineChoice = field(default_factory=EngineChoice)
    since: Amended = field(default_factory=Amended)

    @property
    def files(self) -> StageDir:
        """The paths of the stage's files."""
        return StageDir(self.dir)

"""What every stage is given besides its config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage is given besides its config. It may be called again on a half-done `dir` to resume."""

    name: str
    dir: Path  # the stage's own directory: everything it writes goes here
    seed: int
    dtype: str  # "float32" or "bfloat16"
    device: str  # "cpu" or "cuda"
    max_concurrent: int  # sequences generated at once
    models: Mapping[str, Path]  # a reference as the recipe writes it -> a Hugging Face checkpoint directory
    data: Mapping[str, Path] = field(default_factory=dict)  # the name of an earlier stage -> the records it made
    reward_workers: int = 1  # processes that grade what is not a plain rule
    grading: Mapping[str, Any] = field(default_factory=dict)  # rewards.services.Settings, as plain values

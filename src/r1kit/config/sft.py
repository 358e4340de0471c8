"""The `sft` stage: supervised fine-tuning."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from r1kit.config.stage import Output
from r1kit.config.supervised import Supervised
from r1kit.config.training import Adapters


class SFT(Supervised, Adapters):
    """Supervised fine-tuning on responses (paper: cold start, the second SFT, distillation)."""

    module: ClassVar[str] = "r1kit.stages.sft"
    output: ClassVar[Output] = "model"
    legend: ClassVar[dict[str, str]] = {"loss": "loss"}

    kind: Literal["sft"]
    learning_rate: float = Field(5e-5, gt=0)
    """Learning rate after warm-up. Paper: 5e-5 decaying to 5e-6 (distillation: 1e-4 for 1.5B to 2e-5 for 70B)."""
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "cosine"
    """Shape of the learning rate after warm-up. Paper: cosine."""

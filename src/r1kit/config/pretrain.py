"""The `pretrain` stage: next-token prediction on documents."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from r1kit.config.base import Strict
from r1kit.config.stage import Amount, MemoryUse, Output, StageConfig, warmup_warnings
from r1kit.config.training import Training

SAVE_EVERY = 250  # steps between checkpoints


class Architecture(Strict):
    """The shape of a new decoder. Keys are named as in Hugging Face's config.json."""

    model_type: str = "qwen2"
    """Family of the model: a name in `r1kit/model/families.py`."""
    hidden_size: int = Field(gt=0)
    """Width of the residual stream."""
    intermediate_size: int = Field(gt=0)
    """Width of the MLP."""
    num_hidden_layers: int = Field(gt=0)
    """Number of transformer blocks."""
    num_attention_heads: int = Field(gt=0)
    """Number of query heads."""
    num_key_value_heads: int = Field(gt=0)
    """Number of key and value heads."""


class Pretrain(StageConfig, Training):
    """Next-token prediction on a stream of documents, for a new model or an existing one."""

    module: ClassVar[str] = "r1kit.stages.pretrain"
    output: ClassVar[Output] = "model"
    legend: ClassVar[dict[str, str]] = {"loss": "loss"}

    kind: Literal["pretrain"]
    model: str | None = None
    """Model to continue with, including its tokenizer; without it, `architecture` and `vocab_size` are needed."""
    corpus: str = "sprout-textbook"
    """Name of a generated corpus: `sprout-textbook` or `sprout-web`."""
    architecture: Architecture | None = None
    """Shape of a new model."""
    vocab_size: int | None = Field(None, gt=256)
    """Vocabulary size of a new tokenizer (byte-level BPE)."""
    context_length: int = Field(256, gt=1)
    """Tokens per sequence."""
    steps: int = Field(gt=0)
    """Number of optimizer updates."""
    sequences_per_step: int = Field(gt=0)
    """Sequences per optimizer update."""

    @model_validator(mode="after")
    def _new_or_existing(self) -> Pretrain:
        if self.model is None and (self.architecture is None or self.vocab_size is None):
            raise ValueError("give either model (to continue with it) or architecture and vocab_size (of a new one)")
        if self.model is not None and (self.architecture or self.vocab_size):
            raise ValueError("model has its own architecture and vocab_size: remove these keys or model")
        return self

    @override
    def inputs(self) -> list[str]:
        return [f"corpus {self.corpus}"]

    @override
    def counts(self) -> dict[str, int]:
        return {"steps": self.steps, "tokens_per_step": self.sequences_per_step * self.context_length}

    @override
    def describe(self) -> str:
        return f"{self.steps} steps of {self.counts()['tokens_per_step']} tokens"

    @override
    def memory_use(self) -> MemoryUse:
        tokens = self.counts()["tokens_per_step"]
        return MemoryUse(tokens, tokens, text_tokens=self.context_length, saves=self.steps > SAVE_EVERY)

    @override
    def amounts(self) -> list[Amount]:
        factors = {"sequences_per_step": self.sequences_per_step, "context_length": self.context_length}
        return [Amount("tokens", "per step", factors)]

    @override
    def warnings(self) -> list[str]:
        return warmup_warnings(self.warmup_steps, self.steps)

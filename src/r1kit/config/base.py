"""What stage configs are built from: prompt sources, sampling, the optimizer, endpoints."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Template = Literal["r1-zero", "chat", "none"]
Location = tuple[str | int, ...]  # the path of a key in a recipe, as in ("prompts", 0, "split")


class Strict(BaseModel):
    """A frozen table of a recipe that refuses unknown keys. The docstring below a field describes its key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans_as_numbers(cls, value: object) -> object:
        """Refuse `steps = true`, which pydantic would read as 1."""
        for key, given in value.items() if isinstance(value, dict) else ():
            if isinstance(given, bool) and key in cls.model_fields and cls.model_fields[key].annotation is not bool:
                raise ValueError(f"{key} = {str(given).lower()}: must not be true or false")
        return value


class PromptSource(Strict):
    """A source of problems. A plain string is short for a table with only `source`."""

    source: str
    """`world:NAME`, `reasoning_gym:NAME`, `verifiers:NAME`, a file (JSONL, JSON, CSV or TSV, each also with .gz, or
    Parquet), or a dataset on the Hugging Face hub (`org/name` or `org/name:config`). Among `benchmarks` also
    `bench:NAME`, one of `r1kit benchmarks`, or `bench:NAME=FILE` with its data from a file."""
    split: str = "train"
    """Split of the world or dataset; files have none."""
    min_level: int = 0
    """Lowest difficulty level to include."""
    max_level: int = 99
    """Highest difficulty level to include."""
    limit: int | None = Field(None, gt=0)
    """Number of problems to use, counted from the first; all by default."""
    fields: dict[str, str] = {}
    """For files and datasets with other column names: the name that r1kit reads -> the name there, as in
    `{ question = "Aufgabe" }`."""

    @property
    def is_generated(self) -> bool:
        """Whether the problems are generated, in splits that have no problem in common."""
        return self.source.startswith(("world:", "reasoning_gym:"))

    @property
    def has_held_out(self) -> bool:
        """Whether the splits are named train and held_out, as those of generated problems and of environments."""
        return self.is_generated or self.source.startswith("verifiers:")

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return {"source": value} if isinstance(value, str) else value


class Optimizer(Strict):
    """AdamW with linear warm-up and a learning rate schedule."""

    learning_rate: float = Field(3e-6, gt=0)
    """Learning rate after warm-up. Paper: 3e-6 (R1-Zero)."""
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the learning rate after warm-up. Paper: constant (R1-Zero)."""
    min_lr_ratio: float = Field(0.1, ge=0, le=1)
    """Final learning rate of `linear` and `cosine` as a fraction of `learning_rate`. Paper: 0.1 (SFT)."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises linearly from 0. Paper: undisclosed."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of AdamW. Paper: undisclosed."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """Decay rate of AdamW's first moment. Paper: undisclosed."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """Decay rate of AdamW's second moment. Paper: undisclosed."""
    adam_8bit: bool = False
    """Whether AdamW stores its moments in 8 bits; needs `pip install 'r1kit[8bit]'`. Paper: undisclosed."""
    max_grad_norm: float = Field(1.0, gt=0)
    """L2 norm to which the gradient is clipped. Paper: undisclosed."""


class Sampling(Strict):
    """How the next token of a completion is drawn."""

    temperature: float = Field(1.0, ge=0)
    """Divisor of the logits; 0 is greedy decoding. Paper: 1 (rollouts)."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Probability mass of the most likely tokens to sample from; 1 keeps all tokens. Paper: undisclosed."""
    top_k: int = Field(0, ge=0)
    """Number of most likely tokens to sample from; 0 keeps all tokens. Paper: undisclosed."""
    stop: list[str] = Field([])
    """Texts that end a completion. The tokens up to and including the text are kept, graded and trained on."""

    @field_validator("stop")
    @classmethod
    def _stops_are_text(cls, stop: list[str]) -> list[str]:
        if "" in stop:
            raise ValueError("must not contain an empty text, which would end every completion at once")
        return stop


class Episodes(Strict):
    """What the policy deals with while it answers."""

    environment: str | None = None
    """Environment that answers the policy within a completion, or None: `calculator`, `guess`, `tools`,
    `verifiers:NAME` of the package verifiers, or `module:name` of your own; see docs/environments.md.
    `max_completion_length` limits the episode, with what the environment writes, and `reward_timeout` each of its
    calls. Paper: none."""


class Prompting(Strict):
    """How a problem becomes a prompt."""

    template: Template = "r1-zero"
    """Prompt template."""
    system_prompt: str = ""
    """System message before the question; for `template = "chat"` only."""
    prompt_suffix: str = ""
    """Text that is appended to each question, such as an instruction to box the answer."""

    @model_validator(mode="after")
    def _system_prompt_needs_roles(self) -> Self:
        if self.system_prompt and self.template != "chat":
            raise ValueError(
                f'system_prompt with template = "{self.template}", which has no roles: use template = "chat", or put '
                "the text into prompt_suffix"
            )
        return self


class Scoring(Strict):
    """How the accuracy reward counts an answer that is right in part."""

    partial_credit: bool = False
    """Whether accuracy is the share of constraints, tests or words that are right (verifiers `ifeval`, `code` and
    `fuzzy`), in rewards and in pass@1 alike. Otherwise it is 1 for a right answer and 0 for any other."""


class Service(Strict):
    """A language model behind an OpenAI-compatible endpoint. Paper: DeepSeek-V3."""

    base_url: str = Field(pattern="^https?://")
    """Address of the API without `/chat/completions`, such as `http://localhost:8000/v1`."""
    model: str
    """Name of the model at the endpoint."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the API key."""
    max_concurrent: int = Field(8, gt=0, le=1024)
    """Requests in flight at the same time. As a grading judge, each takes a worker process of about 50 MB."""

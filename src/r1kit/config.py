"""Every knob of r1kit. Defaults are the paper's where it gives a value, and the comment says so.

Names follow TRL and the paper. One vocabulary for batch sizes:

    completions per step    = prompts_per_step * num_generations     (the paper: 32 * 16 = 512)
    completions per rollout = completions per step * steps_per_rollout (the paper: 512 * 16 = 8192)
    a step                  = one policy update (the paper's Fig. 1 caption)
    micro_batch_tokens      = what fits in memory at once; never changes the gradient
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

Objective = Literal["grpo", "grpo_sequence", "dr_grpo", "dapo", "gspo", "cispo"]
Template = Literal["r1-zero", "chat", "none"]


class Strict(BaseModel):
    """Unknown keys are errors, values are frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptSource(Strict):
    """Where problems come from: `world:NAME`, a JSONL/Parquet file, or a dataset on the hub.

    A plain string in a recipe is the `source` with every other key at its default.
    """

    source: str
    split: str = "train"
    min_level: int = 0
    max_level: int = 99
    limit: int | None = Field(None, gt=0)  # the first N problems

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: object) -> object:
        return {"source": value} if isinstance(value, str) else value


class Optimizer(Strict):
    """AdamW with linear warm-up and one of three schedules."""

    learning_rate: float = Field(3e-6, gt=0)  # paper: 3e-6 for R1-Zero
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "constant"
    min_lr_ratio: float = Field(0.1, ge=0, le=1)  # where linear and cosine end; paper: 0.1 in SFT
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0)


class Sampling(Strict):
    """How completions are drawn."""

    temperature: float = Field(1.0, ge=0)  # paper: 1 in rollouts; 0 means greedy
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)  # 0 keeps all


class Architecture(Strict):
    """The shape of a decoder trained from scratch. Names are Hugging Face's."""

    model_type: Literal["qwen2", "qwen3", "llama"] = "qwen2"
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(gt=0)


class Pretrain(Optimizer):
    """Next-token prediction on a stream of documents: a new model, or an earlier one on other text."""

    kind: Literal["pretrain"]
    corpus: str = "sprout-textbook"
    model: str | None = None  # go on from this one, with its tokenizer; else `architecture` and `vocab_size`
    architecture: Architecture | None = None
    vocab_size: int | None = Field(None, gt=256)
    context_length: int = Field(256, gt=1)
    steps: int = Field(gt=0)
    sequences_per_step: int = Field(gt=0)
    seed: int | None = None  # the recipe's when not given

    @model_validator(mode="after")
    def _one_beginning(self) -> Pretrain:
        if self.model is None and (self.architecture is None or self.vocab_size is None):
            raise ValueError("give a model to go on from, or architecture and vocab_size for a new one")
        if self.model is not None and (self.architecture or self.vocab_size):
            raise ValueError("a model brings its own architecture and vocab_size: leave them out, or leave out model")
        return self


class Supervised(Optimizer):
    """Whole epochs over records, packed into rows without padding: what sft and preference stages share."""

    model: str  # an earlier stage, a directory, a hub id, or "sprout-base"
    data: list[str] = Field(min_length=1)  # earlier stages, JSONL, JSON or Parquet files, or datasets on the hub
    template: Template = "chat"
    epochs: int = Field(2, gt=0)  # paper: 2 to 3
    context_length: int = Field(32_768, gt=1)  # paper: 32,768; longer records are left out
    sequences_per_step: int = Field(128, gt=0)  # paper: 128, and 64 in distillation; records, not packed rows
    held_out: int = Field(256, ge=0)  # records measured on instead of trained on; at most a tenth of all
    save_every: int = Field(50, gt=0)  # steps between checkpoints
    seed: int | None = None

    @property
    def row_tokens(self) -> int:
        """What a packed row holds, and so what is in memory at once; it never changes the gradient."""
        return max(self.context_length, 8192)


class SFT(Supervised):
    """Next tokens of answers (paper: cold start, the second SFT, distillation)."""

    kind: Literal["sft"]
    learning_rate: float = Field(5e-5, gt=0)  # paper: 5e-5 to 5e-6; distillation: 1e-4 (1.5B) to 2e-5 (70B)
    lr_scheduler_type: Literal["constant", "linear", "cosine"] = "cosine"  # paper: cosine to a tenth


class Preference(Supervised):
    """A reward model: the policy with a scalar head (paper: the helpful and the safety reward model)."""

    kind: Literal["preference"]
    objective: Literal["pairwise", "pointwise"] = "pairwise"  # chosen over rejected (helpful), or safe or not
    scores: Literal["summary", "whole"] = "summary"  # paper: helpful sees the summary only, safety the whole answer
    learning_rate: float = Field(6e-6, gt=0)  # paper: 6e-6
    epochs: int = Field(1, gt=0)  # paper: 1
    context_length: int = Field(8192, gt=1)  # paper: 8,192 in training, no limit when it is asked
    sequences_per_step: int = Field(256, gt=0)  # paper: 256

    @property
    def row_tokens(self) -> int:
        """Both answers of a pair share a row."""
        return max(self.context_length * (2 if self.objective == "pairwise" else 1), super().row_tokens)


class General(Strict):
    """Prompts that no rule can check, and what answers to them earn (paper eq. 10)."""

    prompts: list[PromptSource] = Field(min_length=1)
    rewards: dict[str, float]  # as in RL; the name of an earlier preference stage is a reward too


class RL(Optimizer, Sampling):
    """GRPO on verifiable problems (paper: R1-Zero and both later RL stages)."""

    kind: Literal["rl"]
    model: str  # an earlier stage, a directory, a hub id, or "sprout-base"
    prompts: list[PromptSource] = Field(min_length=1)
    template: Template = "r1-zero"
    rewards: dict[str, float] = {"accuracy": 1.0, "format": 1.0}  # paper eq. 4: same weight
    general: list[General] = []  # paper: helpful and harmless prompts, in the last RL stage only
    general_steps: int = Field(400, gt=0)  # paper: the last 400 steps of 1,700; before them no general prompts
    general_share: float = Field(0.5, gt=0, lt=1)  # of the prompts in those steps; undisclosed
    steps: int = Field(10_400, gt=0)  # paper: 10,400
    prompts_per_step: int = Field(32, gt=0)  # paper: 32
    num_generations: int = Field(16, gt=1)  # paper: G = 16
    steps_per_rollout: int = Field(16, gt=0)  # paper: 8,192 outputs in 16 mini-batches
    objective: Objective = "grpo"
    beta: float = Field(0.001, ge=0)  # paper: KL coefficient 0.001
    epsilon: float = Field(0.2, gt=0)  # undisclosed for R1-Zero (10 in RL stage 1)
    epsilon_high: float | None = Field(None, gt=0)  # None: epsilon; 0.28 in DAPO
    ref_refresh_steps: int = Field(400, ge=0)  # paper: 400; 0 never refreshes
    dynamic_sampling: bool = False  # DAPO: draw again what has no variance
    skip_zero_variance: bool = False  # spare groups without variance the update, in which they feel nothing but the KL
    overlong_buffer: int = Field(0, ge=0)  # DAPO: tokens before the cap over which the reward falls to -1
    mask_truncated_completions: bool = False  # leave cut-off answers out of the loss
    max_completion_length: dict[int, int] = {0: 32_768, 8_200: 65_536}  # paper: from step -> cap
    micro_batch_tokens: int = Field(4_096, gt=0)
    benchmarks: dict[str, list[PromptSource]] = {}  # held-out problems evaluated along the way
    eval_every: int = Field(0, ge=0)  # steps between those evaluations; 0 never
    eval_samples: int = Field(4, gt=0)
    save_every: int = Field(10, gt=0)  # steps between checkpoints
    log_rollouts_every: int = Field(10, gt=0)  # steps between rollouts kept for the report
    watchdogs: dict[str, Literal["off", "warn", "stop"]] = {}  # other severities than in r1kit/watchdogs.py
    seed: int | None = None

    @field_validator("max_completion_length", mode="before")
    @classmethod
    def _constant_cap(cls, value: object) -> object:
        return {0: value} if isinstance(value, int) else value

    @model_validator(mode="before")
    @classmethod
    def _dapo_defaults(cls, value: object) -> object:
        """DAPO is more than its loss: what a recipe leaves open takes that paper's values."""
        if isinstance(value, dict) and value.get("objective") == "dapo":
            return {"epsilon_high": 0.28, "dynamic_sampling": True, "beta": 0.0, **value}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> RL:
        if min(self.max_completion_length) != 0:
            raise ValueError("max_completion_length needs a value for step 0, e.g. {0 = 512}")
        if min(self.max_completion_length.values()) <= self.overlong_buffer:
            raise ValueError("overlong_buffer must be smaller than max_completion_length")
        if self.temperature == 0:
            raise ValueError("temperature 0 makes every answer of a group the same: RL needs > 0")
        return self

    @property
    def reward_names(self) -> list[str]:
        """Every reward that any prompt earns."""
        return list(dict.fromkeys([*self.rewards, *(name for general in self.general for name in general.rewards)]))

    def completion_cap(self, step: int) -> int:
        """Longest completion allowed at `step`, in tokens."""
        return self.max_completion_length[max(s for s in self.max_completion_length if s <= step)]


class Evaluate(Sampling):
    """pass@1 as a mean over k samples, cons@k, format rate, length, by level (paper: section 3)."""

    kind: Literal["evaluate"]
    model: str
    benchmarks: dict[str, list[PromptSource]] = Field(min_length=1)
    template: Template = "r1-zero"
    samples: int = Field(16, gt=0)  # paper: k between 4 and 64
    temperature: float = Field(0.6, ge=0)  # paper: 0.6
    top_p: float = Field(0.95, gt=0, le=1)  # paper: 0.95
    max_completion_length: int = Field(32_768, gt=0)  # paper: 32,768
    seed: int | None = None


class Service(Strict):
    """A model behind an OpenAI-compatible endpoint, where the paper asks DeepSeek-V3."""

    base_url: str = Field(pattern="^https?://")  # up to and without /chat/completions
    model: str
    api_key_env: str = "OPENAI_API_KEY"  # the variable that holds the key


class Curate(Sampling):
    """Answers sampled from a model, filtered, perhaps rewritten, mixed with other data (paper: cold start, 800k set).

    records: prompt and response, for sft. pairs: chosen and rejected; labels: safe or not, for preference.
    """

    kind: Literal["curate"]
    model: str  # paper: R1-Zero for the cold start, the RL checkpoint for the second SFT
    prompts: list[PromptSource] = Field(min_length=1)
    makes: Literal["records", "pairs", "labels"] = "records"
    template: Template = "chat"
    samples: int = Field(4, gt=0)  # answers to each prompt; undisclosed
    keep: int = Field(1, gt=0)  # records of one prompt at most; undisclosed
    max_completion_length: int = Field(32_768, gt=0)  # paper: 32,768
    token_budget: int | None = Field(None, gt=0)  # sampled tokens after which no further prompts are asked
    rewriter: Literal["oracle:sprout"] | Service | None = None  # to the readable format (paper: DeepSeek-V3)
    judge: Literal["oracle:sprout"] | Service | None = None  # where no rule decides (paper: DeepSeek-V3)
    data: list[str] = []  # other records to mix in: world:talk, earlier stages, files, hub datasets
    data_share: float = Field(0.25, gt=0, lt=1)  # of all records; paper: 200k of 800k
    benchmarks: dict[str, list[PromptSource]] = {}  # what no record may have in common with
    ngram: int = Field(10, gt=0)  # words in a row that count as having in common; paper: 10
    seed: int | None = None

    @model_validator(mode="after")
    def _judged(self) -> Curate:
        if self.makes != "records":
            if self.judge is None:
                raise ValueError(f'{self.makes} need a judge: "oracle:sprout" or base_url and model of an endpoint')
            if self.rewriter or self.data:
                raise ValueError(f"rewriter and data are for records, not for {self.makes}: leave them out")
        if self.makes == "pairs" and self.samples < 2:
            raise ValueError("pairs need samples of at least 2")
        return self


Stage = Annotated[Pretrain | SFT | Preference | RL | Evaluate | Curate, Field(discriminator="kind")]


class Recipe(Strict):
    """A list of named stages, run in the order they are written."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    seed: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: what `r1kit doctor` finds best
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_concurrent: int = Field(512, gt=0)  # sequences generated at once
    sandbox: Literal["auto", "wasm", "namespaces", "landlock", "none"] = "auto"  # "none": programs run unprotected
    reward_workers: int = Field(2, gt=0)  # processes that grade what is not a plain rule
    reward_timeout: float = Field(300.0, gt=0)  # seconds there for one completion, which is masked if it takes longer
    stage: dict[str, Stage] = Field(min_length=1)

    _folder: Path | None = PrivateAttr(None)  # where its file lies: rewards beside it can be imported

    def __eq__(self, other: object) -> bool:
        """Two recipes are equal when they say the same, wherever they lie."""
        return isinstance(other, Recipe) and self.model_dump() == other.model_dump()

    @property
    def folder(self) -> Path | None:
        return self._folder

    def found_in(self, folder: Path) -> Recipe:
        """The same recipe, knowing where it was read from."""
        recipe = self.model_copy()
        recipe._folder = folder
        return recipe

"""The `rl` stage: GRPO, its relatives and PPO.

One vocabulary for batch sizes, named as in TRL and the paper:

    completions per step    = prompts_per_step * num_generations          (paper: 32 * 16 = 512)
    completions per rollout = completions per step * steps_per_rollout    (paper: 512 * 16 = 8,192)
    a step                  = one optimizer update                        (caption of the paper's Figure 1)
    micro_batch_tokens      = what fits in memory; never changes the gradient
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from r1kit.config.base import Episodes, Location, Optimizer, Prompting, PromptSource, Sampling, Scoring, Strict
from r1kit.config.critic import Critic
from r1kit.config.evaluate import Protocol
from r1kit.config.stage import (
    PROMPT_TOKENS,
    Amount,
    MemoryUse,
    Output,
    WithModel,
    benchmark_sources,
    label,
    prompt_sources,
    warmup_warnings,
)
from r1kit.config.training import Adapters, Published, Training

Objective = Literal["grpo", "grpo_sequence", "dr_grpo", "dapo", "gspo", "cispo", "ppo"]
# DAPO is more than its loss (arXiv 2503.14476). CISPO has no lower bound (arXiv 2506.13585, section 3.1), which here is
# 1 - 1 = 0; its paper does not give the upper one. Weights end at 1 + 4 = 5, the middle of the caps that ScaleRL found
# equally good (4, 5 and 8; arXiv 2510.13786, appendix A.17).
OBJECTIVE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "dapo": {"epsilon_high": 0.28, "dynamic_sampling": True, "beta": 0.0},
    "cispo": {"epsilon": 1.0, "epsilon_high": 4.0},
}


class GeneralPrompts(Strict):
    """Prompts that no rule can check, with rewards of their own (paper eq. 10)."""

    prompts: list[PromptSource] = Field(min_length=1)
    """Sources of the prompts."""
    rewards: dict[str, float]
    """Weight of each reward. The name of an earlier preference stage is a reward as well."""


class RL(WithModel, Training, Published, Adapters, Episodes, Scoring, Sampling, Prompting):
    """GRPO on verifiable problems (paper: R1-Zero and both later RL stages)."""

    module: ClassVar[str] = "r1kit.stages.rl"
    output: ClassVar[Output] = "model"
    legend: ClassVar[dict[str, str]] = {"reward": "reward", "length": "completions/mean_length", "loss": "loss"}

    kind: Literal["rl"]
    prompts: list[PromptSource] = Field(min_length=1)
    """Sources of verifiable problems."""
    rewards: dict[str, float] = Field({"accuracy": 1.0, "format": 1.0})
    """Weight of each reward; at least one is positive. Paper: accuracy and format with the same weight (eq. 4)."""
    general: list[GeneralPrompts] = Field([])
    """Prompts that no rule can check, for the last `general_steps` steps. Paper: helpful and harmless prompts, in the
    last RL stage only."""
    general_steps: int = Field(400, gt=0)
    """Number of final steps that include general prompts. Paper: 400 of 1,700."""
    general_share: float = Field(0.5, gt=0, lt=1)
    """Share of general prompts in those steps. Paper: undisclosed."""
    steps: int = Field(10_400, gt=0)
    """Number of optimizer updates. Paper: 10,400 (R1-Zero)."""
    prompts_per_step: int = Field(32, gt=0)
    """Prompts, and so groups, per optimizer update. Paper: 32."""
    num_generations: int = Field(16, gt=1)
    """Group size G: completions per prompt. Paper: 16."""
    steps_per_rollout: int = Field(16, gt=0)
    """Optimizer updates per rollout. Paper: 16 (8,192 completions)."""
    rollouts_ahead: int = Field(0, ge=0, le=1)
    """Rollouts that are sampled and graded while the learner still updates on the one before. With 1, weights are up to
    2 x `steps_per_rollout` - 1 updates older than those they train, and a copy of them takes memory. Paper: 0."""
    objective: Objective = "grpo"
    """Policy loss. With `ppo`, a critic estimates advantages. Paper: grpo."""
    critic: Critic | None = None
    """The critic, with `objective = "ppo"` only. Keys of the optimizer that it lacks are the stage's."""
    gae_lambda: float = Field(1.0, ge=0, le=1)
    """λ of generalised advantage estimation, with `objective = "ppo"` only; its discount γ is 1. Paper: 1 comes close
    to GRPO, 0.95 does not."""
    beta: float = Field(0.001, ge=0)
    """Coefficient of the KL penalty, in `ppo` on rewards; 0 needs no reference model. Paper: 0.001."""
    epsilon: float = Field(0.2, gt=0)
    """Clip range of the probability ratio, and of the critic's values. Paper: 10 (first RL stage of R1; undisclosed for
    R1-Zero)."""
    epsilon_high: float | None = Field(None, gt=0)
    """Upper clip range; `epsilon` by default, 0.28 in DAPO, 4 in CISPO."""
    dual_clip: float | None = Field(None, gt=1)
    """Largest ratio that pushes a token with a negative advantage down; above it, the token has no gradient (dual-clip
    PPO, usually 3). Off by default. Paper: none."""
    importance_cap: float | None = Field(None, gt=1)
    """Largest importance weight of a token or sequence; above it, the gradient is scaled down to this weight (truncated
    importance sampling, usually 2). Off by default. Paper: none."""
    ref_refresh_steps: int = Field(400, ge=0)
    """Steps after which the reference model becomes the current policy; 0 never replaces it. Paper: 400."""
    dynamic_sampling: bool = False
    """Whether to replace groups with zero variance by new ones (DAPO)."""
    skip_zero_variance: bool = False
    """Whether to leave groups with zero variance out of the update; only the KL penalty would train them."""
    overlong_buffer: int = Field(0, ge=0)
    """Tokens before the length limit over which a penalty on the reward grows from 0 to 1 (DAPO); 0 for none."""
    mask_truncated_completions: bool = False
    """Whether to leave truncated completions out of the loss."""
    max_completion_length: dict[int, int] = Field({0: 32_768, 8_200: 65_536})
    """Longest completion in tokens, by the first step it applies to; a plain number applies to all steps. Paper:
    32,768, then 65,536 from step 8,200 (R1-Zero)."""
    micro_batch_tokens: int = Field(4_096, gt=0)
    """Tokens per micro-batch. It decides the memory and never changes the gradient."""
    benchmarks: dict[str, list[PromptSource]] = Field({})
    """Held-out problems to evaluate during training, and to exclude from it (`ngram`): the sources of each benchmark.
    Without `eval_every` they are only excluded. Those of the recipe's evaluate stages are excluded too."""
    ngram: int = Field(10, ge=0)
    """Consecutive words in common with a question of a benchmark that exclude a prompt from training; 0 keeps all.
    Worlds and reasoning_gym are not compared: their splits differ. Paper: 10."""
    eval_every: int = Field(0, ge=0)
    """Steps between these evaluations; 0 for none."""
    eval_at_start: bool = False
    """Whether to evaluate before the first update too; the row of this evaluation has step 0."""
    eval_samples: int = Field(4, gt=0)
    """Completions per problem in these evaluations."""
    eval_protocol: Protocol | None = None
    """How these evaluations sample, with the keys and defaults of an evaluate stage; its `samples` replaces
    `eval_samples`. By default they sample as training does."""
    save_every: int = Field(10, gt=0)
    """Steps between checkpoints."""
    log_rollouts_every: int = Field(10, gt=0)
    """Steps between rollouts whose completions are written to `rollouts/`."""
    watchdogs: dict[str, Literal["off", "warn", "stop"]] = Field({})
    """Severity of each watchdog that should differ from `r1kit/metrics/watchdogs.py`."""

    @field_validator("max_completion_length", mode="before")
    @classmethod
    def _from_number(cls, value: object) -> object:
        return {0: value} if isinstance(value, int) else value

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_objective(cls, value: object) -> object:
        """Change the defaults that belong to another objective."""
        if isinstance(value, dict) and isinstance(objective := value.get("objective"), str):
            value = {**OBJECTIVE_DEFAULTS.get(objective, {}), **value}
            if objective == "ppo" and isinstance(critic := value.get("critic") or {}, dict):
                value["critic"] = {**{key: value[key] for key in Optimizer.model_fields if key in value}, **critic}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> RL:
        if 0 not in self.max_completion_length or min(self.max_completion_length) < 0:
            raise ValueError("max_completion_length needs a value for step 0, for example {0 = 512}")
        shortest = min(self.max_completion_length.values())
        if shortest <= self.overlong_buffer:
            raise ValueError(
                f"overlong_buffer = {self.overlong_buffer}: must be smaller than max_completion_length = {shortest}"
            )
        if self.temperature == 0:
            raise ValueError("temperature = 0: must be above 0, or all completions of a group are the same")
        if self.top_p < 1 or self.top_k:
            given = f"top_p = {self.top_p:g}" if self.top_p < 1 else f"top_k = {self.top_k}"
            raise ValueError(
                f"{given}: must keep all tokens in rl (top_p = 1, top_k = 0). The importance ratio divides by the "
                "probability in the complete distribution, and tokens sampled from a part of it would be trained with "
                "wrong weights. evaluate and curate may truncate"
            )
        if self.dual_clip and self.importance_cap and self.dual_clip >= self.importance_cap:
            raise ValueError(
                f"dual_clip = {self.dual_clip:g}: must be below importance_cap = {self.importance_cap:g}, or it has no "
                "effect"
            )
        if self.objective == "cispo" and (self.dual_clip or self.importance_cap):
            raise ValueError(
                'dual_clip and importance_cap have no effect with objective = "cispo", which caps the weight of every '
                "token at 1 + epsilon_high: remove them"
            )
        return self

    @model_validator(mode="after")
    def _critic_in_ppo(self) -> RL:
        if self.objective == "ppo" and self.skip_zero_variance:
            raise ValueError(
                'skip_zero_variance = true with objective = "ppo", whose critic gives advantages to groups with equal '
                "rewards too: leave it out"
            )
        given = ["critic"] * (self.critic is not None) + ["gae_lambda"] * (self.gae_lambda != 1)
        if self.objective != "ppo" and given:
            raise ValueError(f'{given[0]} with objective = "{self.objective}", which has no critic: remove it')
        return self

    @property
    def reward_names(self) -> list[str]:
        """Every reward of any prompt."""
        return list(dict.fromkeys(name for _, rewards in self.reward_tables() for name in rewards))

    @property
    def is_generated(self) -> bool:
        """Whether all prompts are generated, so that none is compared with the benchmarks."""
        return all(source.is_generated for at, source in self.sources() if at[0] != "benchmarks")

    @property
    def longest_completion(self) -> int:
        """Largest length limit that the stage reaches, in tokens."""
        return max(cap for step, cap in self.max_completion_length.items() if step < self.steps)

    @property
    def max_weights_lag(self) -> int:
        """Most updates between the weights that sample a rollout and those that its first update trains."""
        return self.rollouts_ahead * self.steps_per_rollout

    def completion_cap(self, step: int) -> int:
        """Return the length limit at `step`, in tokens."""
        return self.max_completion_length[max(s for s in self.max_completion_length if s <= step)]

    @property
    def evaluated_samples(self) -> int:
        """Completions per problem in the evaluations during training."""
        return self.eval_samples if self.eval_protocol is None else self.eval_protocol.samples

    @override
    def evaluated_metrics(self) -> list[str]:
        names = self.benchmarks if 0 < self.eval_every <= self.steps else ()
        keys = ("pass@1", f"cons@{self.evaluated_samples}", "format_rate")
        return [f"eval/{name}/{key}" for name in names for key in keys]

    @override
    def models_read(self, stages: Container[str]) -> list[str]:
        initial = [self.critic.model] if self.critic is not None and self.critic.model else []
        return [self.model, *(name for general in self.general for name in general.rewards if name in stages), *initial]

    @override
    def sources(self) -> list[tuple[Location, PromptSource]]:
        general = [
            (("general", i, *at), source)
            for i, group in enumerate(self.general)
            for at, source in prompt_sources("prompts", group.prompts)
        ]
        return prompt_sources("prompts", self.prompts) + general + benchmark_sources(self.benchmarks)

    @override
    def reward_tables(self) -> list[tuple[Location, Mapping[str, float]]]:
        general = [(("general", i, "rewards"), group.rewards) for i, group in enumerate(self.general)]
        return [(("rewards",), self.rewards), *general]

    @override
    def inputs(self) -> list[str]:
        return [self.model, *(label(source) for at, source in self.sources() if at[0] != "benchmarks")]

    @override
    def counts(self) -> dict[str, int]:
        per_step = self.prompts_per_step * self.num_generations
        refresh = self.ref_refresh_steps if self.beta else 0
        return {
            "steps": self.steps,
            "prompts_per_step": self.prompts_per_step,
            "num_generations": self.num_generations,
            "completions_per_step": per_step,
            "steps_per_rollout": self.steps_per_rollout,
            "completions_per_rollout": per_step * self.steps_per_rollout,
            "rollouts": -(-self.steps // self.steps_per_rollout),
            "reference_windows": -(-self.steps // refresh) if refresh else 0,
            "completions": per_step * self.steps,
        }

    @override
    def describe(self) -> str:
        c = self.counts()
        windows = f", {c['reference_windows']} reference windows" if c["reference_windows"] else ""
        return (
            f"{c['steps']} steps of {c['prompts_per_step']} prompts x {c['num_generations']} generations = "
            f"{c['completions_per_step']} completions\n{c['rollouts']} rollouts of "
            f"{c['completions_per_rollout']} completions, {c['steps_per_rollout']} steps each{windows}; "
            f"{c['completions']:,} completions in all"
        )

    @override
    def memory_use(self) -> MemoryUse:
        counts, longest = self.counts(), self.longest_completion
        step_tokens = counts["completions_per_step"] * longest
        return MemoryUse(
            trained_tokens=min(max(self.micro_batch_tokens, longest), step_tokens),
            step_tokens=step_tokens,
            text_tokens=longest,
            saves=self.save_every < self.steps,
            prompts=min(self.prompts_per_step, max(1, self.micro_batch_tokens // PROMPT_TOKENS)),
            has_reference=self.beta > 0,
            has_critic=self.critic is not None,
            samples_ahead=self.rollouts_ahead > 0,
            completions=counts["completions_per_rollout"],
            samples=self.num_generations,
            completion_tokens=longest,
        )

    @override
    def amounts(self) -> list[Amount]:
        keys = ("prompts_per_step", "num_generations", "steps_per_rollout")
        rollout = Amount("completions", "per rollout", {key: getattr(self, key) for key in keys})
        key = "eval_samples" if self.eval_protocol is None else "eval_protocol.samples"
        evaluation = Amount("completions", "per problem", {key: self.evaluated_samples})
        return [rollout, evaluation] if self.eval_every and self.benchmarks else [rollout]

    @override
    def longest_text(self) -> tuple[str, int]:
        return "max_completion_length", self.longest_completion

    @override
    def warnings(self) -> list[str]:
        per_rollout, longest, refresh = self.steps_per_rollout, self.longest_completion, self.ref_refresh_steps
        rest = self.steps % per_rollout
        checks = [
            (rest > 0, f"steps = {self.steps} is not a multiple of steps_per_rollout = {per_rollout}: "
                       f"the last rollout trains {rest} of {per_rollout} steps"),
            (self.beta > 0 and refresh > 0 and refresh % per_rollout > 0,
             f"ref_refresh_steps = {refresh} is not a multiple of steps_per_rollout = {per_rollout}"),
            (self.micro_batch_tokens < longest,
             f"micro_batch_tokens = {self.micro_batch_tokens} is less than one completion of {longest} tokens: "
             "the longest completions decide the memory"),
            (self.rollouts_ahead > 0 and self.steps <= per_rollout,
             f"rollouts_ahead has no effect: steps = {self.steps} are a single rollout"),
            (bool(self.benchmarks) and not self.eval_every and self.is_generated,
             "benchmarks never run: eval_every is 0"),
            ((self.eval_at_start or self.eval_protocol is not None) and not self.eval_every,
             "eval_at_start and eval_protocol have no effect: eval_every is 0"),
            (bool(self.eval_every) and not self.benchmarks, "eval_every has no effect: there are no benchmarks"),
        ]  # fmt: skip
        return [text for applies, text in checks if applies] + warmup_warnings(self.warmup_steps, self.steps)

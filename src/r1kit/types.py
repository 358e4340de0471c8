"""Records that several packages exchange. No torch at runtime: the command line reads them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

FinishReason = Literal["stop", "length"]
# Strongest first; rewards/sandbox/tiers/NAME.py implements each. "none" runs programs without any protection.
SandboxTier = Literal["wasm", "namespaces", "landlock", "none"]
ASSISTANT = "assistant"  # the role of the policy
TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]  # trackers/NAME.py implements each


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with an answer that a verifier can check."""

    id: str
    """Hash of the source and the content: the same in every run."""
    question: str
    answer: str
    """Reference answer, in the form that the verifier reads."""
    verifier: str = "math"
    """Name of the verifier, in `rewards.verifiers`."""
    level: int = 0
    """Difficulty; 0 if the source gives none."""
    family: str = ""
    """Group in tables, such as "arithmetic" or "gsm8k"."""
    language: str = "en"
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What the verifier needs besides the answer."""
    prompt: str = ""
    """What the user asks, if it is more than the question, such as instructions or passages."""
    messages: tuple[Mapping[str, Any], ...] = ()
    """The conversation to continue, as OpenAI's API has it, in place of `prompt`; for the template "chat" only."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Definitions of the tools that the policy may call, as OpenAI's API has them; for the template "chat" only."""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of a completion by one author."""

    role: str
    """ASSISTANT if the policy sampled them; otherwise the role of the message that an environment wrote."""
    length: int
    """Number of tokens; 0 for a message that is framed together with the one before, which then has the tokens."""
    text: str = ""
    """What the policy wrote, decoded without special tokens, or the content of the message."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled completion of a prompt; with an environment, an episode of several turns."""

    prompt_id: str
    sample: int
    """Index in the prompt's group."""
    token_ids: tuple[int, ...]
    """Includes the EOS token, if there is one, and what an environment wrote."""
    logprobs: tuple[float, ...]
    """Natural logarithms under the distribution after temperature, before top-p and top-k; 0 where an environment
    wrote."""
    text: str
    """Decoded without special tokens. Of an episode, what the policy wrote since the last message to it."""
    finish_reason: FinishReason
    weights_version: int = 0
    """Number of optimizer updates of the policy that sampled it."""
    counted: int = 0
    """Number of tokens that an endpoint counted. It does not say which, so `token_ids` is empty."""
    counted_thinking: int = 0
    """How many of them the endpoint counted as reasoning; 0 if it does not say."""
    spans: tuple[Span, ...] = ()
    """Authors of the tokens, in order; empty if the policy sampled all."""
    environment_score: float | None = None
    """What the environment gave the episode; None if it gives none."""
    failure: str = ""
    """What failed outside the policy. Such a completion is masked."""

    @property
    def length(self) -> int:
        """Number of sampled tokens."""
        return self.counted or len(self.sampled_ids)

    @property
    def sampled(self) -> tuple[bool, ...]:
        """Whether the policy sampled each token."""
        if not self.spans:
            return (True,) * len(self.token_ids)
        return tuple(span.role == ASSISTANT for span in self.spans for _ in range(span.length))

    @property
    def sampled_ids(self) -> tuple[int, ...]:
        """The tokens that the policy sampled."""
        return tuple(compress(self.token_ids, self.sampled)) if self.spans else self.token_ids


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of one completion."""

    total: float
    """Weighted sum of `parts`."""
    parts: Mapping[str, float]
    """Value of each reward before weighting."""
    extracted: str | None = None
    """Final answer in the text; None if there is none."""
    reason: str = ""
    """Explanation of the accuracy reward."""
    masked: bool = False
    """Whether grading failed for a reason outside the completion, which then counts nowhere; see `reason`."""
    readable: bool = True
    """Whether the verifier could read the answer; else it has no vote (cons@k)."""


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """Completions of complete groups, padded on the right.

    P prompts, G completions per prompt, B = P * G sequences, L longest prompt, T longest completion.
    """

    prompt_PL: torch.Tensor
    """int64 token ids."""
    prompt_mask_PL: torch.Tensor
    """True on tokens that are not padding."""
    completion_BT: torch.Tensor
    """int64 token ids; row b belongs to prompt b // G."""
    completion_mask_BT: torch.Tensor
    """True on tokens of completions to train on, also on those that an environment wrote."""
    old_logp_BT: torch.Tensor
    """Log-probabilities under the policy that sampled the tokens."""
    advantages_B: torch.Tensor
    graded_B: torch.Tensor
    """False where grading failed; these rows count nowhere."""
    duplicate_of_B: torch.Tensor
    """First row with the same completion of the same prompt; usually the row itself."""
    temperature: float = 1.0
    sampled_BT: torch.Tensor | None = None
    """True on tokens that the policy sampled, or padding; None if it sampled all. It reads the others only."""
    rewards_B: torch.Tensor | None = None
    """Rewards of the completions; for PPO only."""
    values_BT: torch.Tensor | None = None
    """What the critic gave the states before each token when the rollout was new; for PPO only."""

    @property
    def trained_BT(self) -> torch.Tensor:
        """True on tokens that have a gradient."""
        mask_BT = self.completion_mask_BT
        return mask_BT if self.sampled_BT is None else mask_BT & self.sampled_BT

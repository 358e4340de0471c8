"""The records that cross borders between packages. No torch here: the CLI reads these too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

FinishReason = Literal["stop", "length"]
# Strongest first; rewards/sandbox/tiers/NAME.py implements each. "none" runs programs without any protection.
SandboxTier = Literal["wasm", "namespaces", "landlock", "none"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question whose answer a rule can check."""

    id: str  # stable across runs: a hash of source and content
    question: str
    answer: str  # the gold answer, in the form `verifier` reads
    verifier: str = "math"  # which accuracy check: a name in rewards.verifiers
    level: int = 0  # difficulty, 0 when the source gives none
    family: str = ""  # "arithmetic", "gsm8k", ...: what tables group by
    language: str = "en"
    extra: Mapping[str, Any] = field(default_factory=dict)  # what the verifier needs besides the answer


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer to one prompt."""

    prompt_id: str
    sample: int  # index within the prompt's group
    token_ids: tuple[int, ...]  # the final EOS included when there is one
    logprobs: tuple[float, ...]  # natural log, of the tempered distribution before top-p and top-k cut it
    text: str  # decoded without special tokens
    finish_reason: FinishReason
    weights_version: int = 0  # which policy weights wrote it


@dataclass(frozen=True, slots=True)
class Score:
    """What one completion earned: the weighted total and the unweighted parts it is made of."""

    total: float
    parts: Mapping[str, float]  # reward name -> value before weighting
    extracted: str | None = None  # the answer found in the text, None when there was none
    reason: str = ""  # why the accuracy reward is what it is
    masked: bool = False  # could not be graded, through no fault of the answer: it counts nowhere; `reason` says why


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """The completions of whole groups, padded on the right, as the learner reads them.

    P prompts, G group size, B = P * G sequences, L longest prompt, T longest completion.
    """

    prompt_PL: torch.Tensor  # int64 token ids
    prompt_mask_PL: torch.Tensor  # True on real tokens
    completion_BT: torch.Tensor  # int64 token ids; row b belongs to prompt b // G
    completion_mask_BT: torch.Tensor  # True on tokens that are trained on
    old_logp_BT: torch.Tensor  # log-probabilities under the policy that sampled
    advantages_B: torch.Tensor
    graded_B: torch.Tensor  # False where grading failed: such a row is as if it had not been sampled
    duplicate_of_B: torch.Tensor  # the first row that is the same answer to the same prompt: often itself
    temperature: float = 1.0

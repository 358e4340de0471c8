"""What a rollout engine is: prompts in, completions with log-probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from r1kit.types import Completion


@dataclass(frozen=True, slots=True)
class Request:
    """A tokenised prompt and how many completions of it are wanted."""

    prompt_id: str  # part of every sample's random key
    token_ids: tuple[int, ...]
    samples: int = 1
    first_sample: int = 0  # indices are first_sample .. first_sample + samples - 1


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are drawn. A token is a pure function of (seed, prompt_id, sample, position, logits)."""

    seed: int
    max_tokens: int
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps all


@dataclass(frozen=True, slots=True)
class Delta:
    """What has just been added to one completion."""

    prompt_id: str
    sample: int
    token_ids: list[int]


Finished = Callable[[Completion], None]


class Engine(Protocol):
    """Native, vLLM or scripted."""

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finished: Finished | None = None
    ) -> list[Completion]:
        """All completions, in the order of the requests and then of their samples.

        `finished` is told of each as soon as it is whole, while others are being written, in whatever order that is.
        Log-probabilities are of the tempered distribution before top-p and top-k cut it, as the learner computes them.
        """
        ...

    def stream(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Delta]:
        """The same tokens as `generate`, as they are written."""
        ...

    def load_weights(self, model: object, version: int) -> None:
        """Generate with these weights from now on; completions carry `version`."""
        ...

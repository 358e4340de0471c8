"""The interface of rollout engines: prompts in, completions with log-probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from r1kit.types import Completion, Problem

if TYPE_CHECKING:
    from r1kit.model.policy import Policy


@dataclass(frozen=True, slots=True)
class Request:
    """A tokenised prompt and the number of completions to sample."""

    prompt_id: str  # part of every sample's random key
    token_ids: tuple[int, ...]
    samples: int = 1
    first_sample: int = 0  # indices are first_sample .. first_sample + samples - 1
    problem: Problem | None = None  # what the prompt asks; environments read it


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are sampled. A token is a pure function of (seed, prompt_id, sample, position, logits)."""

    seed: int
    max_tokens: int
    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps all
    stop: tuple[str, ...] = ()  # texts that end a completion; see `engine.stops`

    @property
    def is_plain(self) -> bool:
        """Whether tokens are sampled, from all."""
        return self.temperature > 0 and self.top_p >= 1 and self.top_k <= 0


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """A recipe's choice of an engine; see the key `engine`."""

    name: str = "native"
    servers: tuple[str, ...] = ()  # URLs of vLLM servers; with any, `name` is "servers"
    folder: Path | None = None  # where weights for servers are written; a folder for temporary files by default

    @classmethod
    def of(cls, engine: str | Sequence[str], folder: Path) -> EngineChoice:
        """Return the choice that the value of the key stands for."""
        return cls(engine) if isinstance(engine, str) else cls("servers", tuple(engine), folder)


Finished = Callable[[Completion], None]  # called with every completion as soon as it is finished


class Engine(Protocol):
    """A rollout engine; see `engine.factory` for the ones there are."""

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, on_finished: Finished | None = None
    ) -> list[Completion]:
        """Return all completions, ordered by request and then by sample.

        `on_finished` is called with each completion while others are still being sampled, in any order.
        Log-probabilities are under the tempered distribution before top-p and top-k, as the learner computes them; NaN
        if an engine does not know them.
        """
        ...

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """Yield (index of the request, completion) as soon as a completion is finished. None of them is kept."""
        ...

    def load_weights(self, model: Policy, version: int) -> None:
        """Generate with these weights from now on. Completions carry `version`."""
        ...


class CollectingEngine:
    """Implements `Engine.generate` by an engine's own `finished`."""

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, on_finished: Finished | None = None
    ) -> list[Completion]:
        """See `Engine.generate`."""
        completions: dict[tuple[int, int], Completion] = {}  # (request, sample) -> completion
        for request, completion in self.finished(requests, params):
            completions[request, completion.sample] = completion
            if on_finished is not None:
                on_finished(completion)
        return [completions[place] for place in sorted(completions)]

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """See `Engine.finished`."""
        raise NotImplementedError

"""The bundled model, and helpers that run a live engine until it has no work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest

from r1kit.engine.live.base import LiveDelta, LiveEngine, LiveRequest


@dataclass
class Answer:
    """All deltas of one sample, joined."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    finish_reason: str | None = None
    error: Exception | None = None

    def add(self, delta: LiveDelta) -> None:
        assert self.finish_reason is None, "nothing follows the last delta"
        self.token_ids += delta.token_ids
        self.logprobs += delta.logprobs
        self.top_logprobs += delta.top_logprobs
        self.finish_reason, self.error = delta.finish_reason, delta.error


Answers = dict[tuple[str, int], Answer]


def run_live(
    engine: LiveEngine, requests: Sequence[LiveRequest], before_step: Callable[[Answers], None] = lambda answers: None
) -> Answers:
    """Add requests and step until there is no work."""
    answers: Answers = defaultdict(Answer)
    for request in requests:
        engine.add(request)
    while engine.has_work:
        before_step(answers)
        for delta in engine.step():
            answers[delta.id, delta.sample].add(delta)
    return answers


@pytest.fixture(scope="session")
def run():
    return run_live


@pytest.fixture(scope="session")
def sprout():
    """(model, tokenizer) of the bundled sprout-base, in float32."""
    import torch

    from r1kit.model.hf import load_model, load_tokenizer

    directory = Path(str(files("r1kit") / "assets" / "sprout-base"))
    return load_model(directory, torch.float32, "cpu"), load_tokenizer(directory)

"""Compare what an engine samples with our own engine and with the learner's log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Engine, Request, SamplingParams
from r1kit.engine.native import NativeEngine
from r1kit.model.decoder import Decoder
from r1kit.types import Completion

GREEDY = SamplingParams(seed=1, max_tokens=60, temperature=0)


@dataclass(frozen=True)
class Agreement:
    """Share of equal greedy completions, and the difference of the log-probabilities of all tokens."""

    equal: float
    mean: float
    largest: float


def questions(tokenizer: PreTrainedTokenizerBase, count: int) -> list[Request]:
    """Prompts of different lengths."""
    random = Random(1)
    texts = [
        f"A conversation. Question: {' + '.join(str(random.randint(1, 60)) for _ in range(2 + i % 5))} = ? Assistant:"
        for i in range(count)
    ]
    return [Request(f"q{i}", tuple(tokenizer.encode(text, add_special_tokens=False))) for i, text in enumerate(texts)]


def agreement(engine: Engine, model: Decoder, tokenizer: PreTrainedTokenizerBase, requests: Sequence[Request]):
    """Compare greedy completions of an engine with those of our own engine."""
    theirs, ours = engine.generate(requests, GREEDY), NativeEngine(model, tokenizer).generate(requests, GREEDY)
    equal = [a.token_ids == b.token_ids for a, b in zip(theirs, ours, strict=True)]
    gaps = differences(theirs, requests, model, 1.0)
    return Agreement(sum(equal) / len(equal), float(gaps.mean()), float(gaps.max()))


@torch.no_grad()
def differences(
    completions: Sequence[Completion], requests: Sequence[Request], model: Decoder, temperature: float
) -> torch.Tensor:
    """Return |difference| to the learner's log-probability of every token."""
    prompts = {request.prompt_id: request.token_ids for request in requests}
    gaps = []
    for completion in completions:
        prompt, ids = prompts[completion.prompt_id], completion.token_ids
        hidden_TD = model(torch.tensor([[*prompt, *ids]]))[0, len(prompt) - 1 : -1]
        logp_TV = (model.logits(hidden_TD) / temperature).log_softmax(-1)
        logp_T = logp_TV[torch.arange(len(ids)), torch.tensor(ids)]
        gaps.append((logp_T - torch.tensor(completion.logprobs)).abs())
    return torch.cat(gaps)


@torch.no_grad()
def nudge(model: Decoder, size: float, seed: int = 0) -> None:
    """Change all weights a little, as an update does."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.add_(torch.randn(weight.shape, generator=generator) * size)


def check_updates(
    engine: Engine, model: Decoder, tokenizer: PreTrainedTokenizerBase, requests: Sequence[Request]
) -> None:
    """Fail unless greedy answers agree with the native engine's before an update and after two."""
    for version in range(3):
        found = agreement(engine, model, tokenizer, requests)
        print(f"version {version}: {found}")
        assert found.equal >= 0.99 and found.mean <= 1e-4
        nudge(model, 0.003, version)
        engine.load_weights(model, version + 1)

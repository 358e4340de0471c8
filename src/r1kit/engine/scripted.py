"""An engine that says what it is told: for tests, and for trying rewards and pipelines without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Delta, Finished, Request, SamplingParams
from r1kit.types import Completion


class ScriptedEngine:
    """`script(prompt_id, sample)` is the answer. Every token is certain (log-probability 0)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, script: Callable[[str, int], str]):
        self.tokenizer, self.script, self.version = tokenizer, script, 0

    def load_weights(self, model: object, version: int) -> None:
        self.version = version

    def generate(
        self, requests: Sequence[Request], params: SamplingParams, finished: Finished | None = None
    ) -> list[Completion]:
        """See `Engine.generate`. An answer longer than max_tokens is cut off."""
        completions = []
        for request in requests:
            for index in range(request.first_sample, request.first_sample + request.samples):
                text = self.script(request.prompt_id, index)
                ids = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
                stopped = len(ids) <= params.max_tokens
                ids = ids[: params.max_tokens]
                text = self.tokenizer.decode(ids, skip_special_tokens=True)
                finish = "stop" if stopped else "length"
                completions.append(
                    Completion(request.prompt_id, index, tuple(ids), (0.0,) * len(ids), text, finish, self.version)
                )
                if finished is not None:
                    finished(completions[-1])
        return completions

    def stream(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[Delta]:
        """See `Engine.stream`: here each answer comes whole."""
        for completion in self.generate(requests, params):
            yield Delta(completion.prompt_id, completion.sample, list(completion.token_ids))

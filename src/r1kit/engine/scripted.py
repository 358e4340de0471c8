"""An engine with scripted completions, for tests and for trying rewards without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from r1kit.data.template import end_of_answer
from r1kit.engine.base import CollectingEngine, Request, SamplingParams
from r1kit.engine.stops import stop_length
from r1kit.types import Completion


class ScriptedEngine(CollectingEngine):
    """Returns `script(prompt_id, sample)` as the completion. Every token has log-probability 0."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, script: Callable[[str, int], str]) -> None:
        self.tokenizer, self.script, self.version = tokenizer, script, 0

    def load_weights(self, model: object, version: int) -> None:
        """See `Engine.load_weights`; only the version is used."""
        self.version = version

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """See `Engine.finished`."""
        for index, request in enumerate(requests):
            for sample in range(request.first_sample, request.first_sample + request.samples):
                yield index, self._completion(request.prompt_id, sample, params)

    def _completion(self, prompt_id: str, sample: int, params: SamplingParams) -> Completion:
        text = self.script(prompt_id, sample)
        all_ids = [*self.tokenizer.encode(text, add_special_tokens=False), end_of_answer(self.tokenizer)]
        all_ids = all_ids[: stop_length(all_ids, 0, params.stop, self.tokenizer)]
        ids = all_ids[: params.max_tokens]
        return Completion(
            prompt_id=prompt_id,
            sample=sample,
            token_ids=tuple(ids),
            logprobs=(0.0,) * len(ids),
            text=str(self.tokenizer.decode(ids, skip_special_tokens=True)),
            finish_reason="stop" if len(all_ids) <= params.max_tokens else "length",
            weights_version=self.version,
        )

"""A live engine with scripted completions, for tests of what uses one."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import Request
from r1kit.engine.live.base import LiveDelta, LiveRequest, check_request
from r1kit.engine.scripted import ScriptedEngine

STEP_TOKENS = 4  # added to every sample by one step


class ScriptedLiveEngine:
    """Returns `script(prompt_id, sample)` a few tokens at a time. Every token has log-probability 0."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, script: Callable[[str, int], str], context_length: int = 4096
    ) -> None:
        self.engine, self.vocabulary = ScriptedEngine(tokenizer, script), len(tokenizer)
        self.context_length = context_length
        self.running: dict[tuple[str, int], tuple[LiveDelta, int]] = {}  # the completion, and how much was returned

    @property
    def has_work(self) -> bool:
        """See `LiveEngine.has_work`."""
        return bool(self.running)

    def add(self, request: LiveRequest) -> None:
        """See `LiveEngine.add`. Constraints are ignored."""
        check_request(request, self.context_length, self.vocabulary)
        scripted = Request(request.prompt_id, request.token_ids, request.samples, request.first_sample)
        for completion in self.engine.generate([scripted], request.params):
            ids = list(completion.token_ids)
            top = [[(token, 0.0)] for token in ids] if request.top_logprobs else []
            reason = completion.finish_reason
            delta = LiveDelta(request.id, completion.sample, ids, [*completion.logprobs], top, reason)
            self.running[request.id, completion.sample] = (delta, 0)

    def cancel(self, request_id: str) -> None:
        """See `LiveEngine.cancel`."""
        self.running = {place: delta for place, delta in self.running.items() if place[0] != request_id}

    def step(self) -> list[LiveDelta]:
        """See `LiveEngine.step`."""
        deltas = []
        for place, (all_of_it, start) in [*self.running.items()]:
            end = start + STEP_TOKENS
            is_last = end >= len(all_of_it.token_ids)
            ids, logprobs = all_of_it.token_ids[start:end], all_of_it.logprobs[start:end]
            reason = all_of_it.finish_reason if is_last else None
            deltas.append(LiveDelta(*place, ids, logprobs, all_of_it.top_logprobs[start:end], reason))
            if is_last:
                del self.running[place]
            else:
                self.running[place] = (all_of_it, end)
        return deltas

    def close(self) -> None:
        """See `LiveEngine.close`."""

"""Sample completions in an environment: episodes of several turns.

An episode's tokens are those that were sampled, and those of the environment's messages between them; nothing is
encoded twice. Turns of all episodes are sampled by one live engine, where they come and go, and the environment works
beside it in threads. On a CPU with the native decoder, an episode does not depend on the others, nor on how long the
environment takes.

A turn computes what follows the history of the turn before: the tokens that were sampled in it, and the message. Where
the size of the KV cache is limited, it computes all of its history again, and nothing is kept between turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import get_args

from r1kit.data.messages import MessageEncoder
from r1kit.data.problem_rows import NOT_UNICODE, is_unicode
from r1kit.engine.base import CollectingEngine, Engine, Request, SamplingParams
from r1kit.engine.blocks import BlockEngine
from r1kit.engine.factory import live_engine_of
from r1kit.engine.live.base import ComputedPrompt, LiveDelta, LiveEngine, LiveRequest
from r1kit.engine.live.blocks import THROUGHPUT, BlockLiveEngine
from r1kit.engine.vllm.local import LocalVllm
from r1kit.environments.base import Environment, Episode, Message, Role
from r1kit.environments.calls import Calls, Outcome, resolved
from r1kit.environments.named import ENGINE, environment_named
from r1kit.environments.signatures import misfit_of_episode
from r1kit.environments.tools import set_call_style
from r1kit.errors import UserError
from r1kit.hashing import derive_seed
from r1kit.model.policy import Policy
from r1kit.rewards.custom import REWARD, reward_value
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.outcomes import MAX_FAILED, MIN_FAILURES
from r1kit.types import ASSISTANT, Completion, FinishReason, Problem, Span

MAX_TOKEN_CHARACTERS = 64  # of a message per token that there is room for: longer ones are not even encoded

_Key = tuple[int, int, int]  # number of the call of the engine, request, sample


@dataclass(slots=True)
class _Running:
    """An episode whose completion has not been returned."""

    request: Request
    problem: Problem
    sample: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)  # tokens of the present turn
    written: list[int] = field(default_factory=list)  # the policy's tokens since the last message of the chat template
    turns: int = 0
    reason: FinishReason = "stop"
    failure: str = ""
    episode: Episode | None = None  # once the first turn has ended
    is_closing: bool = False
    computed: ComputedPrompt | None = None  # of the history, to its last message

    def sampled(self, token_ids: Sequence[int], logprobs: Sequence[float]) -> None:
        """Append tokens of the policy."""
        self.turn += token_ids
        self.written += token_ids
        self.token_ids += token_ids
        self.logprobs += logprobs
        if self.spans and self.spans[-1].role == ASSISTANT:
            self.spans[-1] = Span(ASSISTANT, self.spans[-1].length + len(token_ids))
        elif token_ids:
            self.spans.append(Span(ASSISTANT, len(token_ids)))

    def answered(self, messages: Sequence[Message], token_ids: Sequence[int]) -> None:
        """Append messages of the environment: the next turn begins."""
        self.turn = []
        if messages[-1].role != "environment":
            self.written = []
        self.token_ids += token_ids
        self.logprobs += [0.0] * len(token_ids)
        first, *others = messages
        self.spans += [Span(first.role, len(token_ids), first.content)]
        self.spans += [Span(message.role, 0, message.content) for message in others]


class EpisodeEngine(CollectingEngine):
    """Samples episodes with the model of another engine."""

    def __init__(self, engine: BlockEngine | LocalVllm, environment: Environment, seconds: float) -> None:
        """Take an engine, an environment, and the seconds that one call of the environment may take."""
        self.engine, self.environment = engine, environment
        self.calls: Calls[_Key] = Calls(seconds)
        self.numbers = count()
        self.messages = MessageEncoder(engine.tokenizer)

    def load_weights(self, model: Policy, version: int) -> None:
        """See `Engine.load_weights`."""
        self.engine.load_weights(model, version)

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """See `Engine.finished`. Failed episodes carry the reason.

        Raises:
            UserError: Too many episodes have failed, with the first reason.
        """
        live = live_engine_of(self.engine)
        assert live is not None, "in_environment refuses the others"
        if isinstance(live, BlockLiveEngine):
            live.pace = THROUGHPUT
        sampling = _Sampling(self, live, params)
        failed, first_failure = 0, ""
        try:
            for index, request in enumerate(requests):
                sampling.begin(index, request)
            for index, completion in sampling.run():
                failed += bool(completion.failure)
                first_failure = first_failure or completion.failure
                if failed >= MIN_FAILURES and failed > MAX_FAILED * sampling.total:
                    raise UserError(f"{failed} of {sampling.total} episodes failed; the first: {first_failure}")
                yield index, completion
        finally:
            sampling.abandon()
            live.close()


class _Sampling:
    """One call of the engine."""

    def __init__(self, engine: EpisodeEngine, live: LiveEngine, params: SamplingParams) -> None:
        self.engine, self.live = engine, live
        self.environment, self.messages = engine.environment, engine.messages
        self.tokenizer, self.stops = engine.engine.tokenizer, engine.engine.stops
        self.params = replace(params, stop=(*params.stop, *self.environment.stop))
        self.calls, self.number = engine.calls, next(engine.numbers)
        self.running: dict[_Key, _Running] = {}
        self.total = 0

    def begin(self, index: int, request: Request) -> None:
        """Sample the first turns of a request."""
        assert request.problem is not None, "an environment reads the problem of a request"
        samples = range(request.first_sample, request.first_sample + request.samples)
        keep = self._new_prompt()
        self.running |= {
            (self.number, index, sample): _Running(request, request.problem, sample, computed=keep)
            for sample in samples
        }
        self.total += len(samples)
        if (room := self._room(request, 0)) < 1:
            raise UserError(
                f"problem {request.prompt_id}: its prompt has {len(request.token_ids):,} tokens, and the model "
                f"{self.live.context_length:,} positions: leave out long problems"
            )
        params = replace(self.params, max_tokens=room)
        place = (request.samples, request.first_sample, 0, request.prompt_id)
        self.live.add(LiveRequest(f"{index}", request.token_ids, params, *place, keep=keep))

    def run(self) -> Iterator[tuple[int, Completion]]:
        """Yield (index of the request, completion) as soon as an episode is over."""
        while self.running:
            for delta in self.live.step() if self.live.has_work else ():
                self._grow(delta)
            for outcome in self.calls.collect(wait=not self.live.has_work):
                key, running = outcome.key, self.running.get(outcome.key)
                if running is not None and running.is_closing:
                    yield key[1], self._completion(self.running.pop(key), outcome)
                elif running is not None:  # else of an earlier call, which was abandoned
                    self._answer(key, running, outcome)

    def _new_prompt(self) -> ComputedPrompt | None:
        engine = self.engine.engine
        return ComputedPrompt() if isinstance(engine, BlockEngine) and engine.capacity.cache_tokens is None else None

    def abandon(self) -> None:
        """Close the episodes that are not over, without waiting for it."""
        self.calls.forget()
        for key, running in self.running.items():
            if running.episode is not None and not running.is_closing:
                self.calls.submit(key, running.episode.close)

    def _room(self, request: Request, length: int) -> int:
        """Return how many tokens may follow the first `length` ones of an episode."""
        return min(self.params.max_tokens, self.live.context_length - len(request.token_ids)) - length

    def _grow(self, delta: LiveDelta) -> None:
        if delta.error:
            raise UserError(delta.error)
        key = self.number, int(delta.id.partition(":")[0]), delta.sample
        running = self.running[key]
        running.sampled(delta.token_ids, delta.logprobs)
        if delta.finish_reason is not None:
            running.turns += 1
        if delta.finish_reason == "length":
            self._close(key, running, "length")
        elif delta.finish_reason is not None:
            self.calls.submit(key, partial(self._step, running, self._text(running.turn)))

    def _started(self, running: _Running) -> Episode:
        if running.episode is None:
            seed = derive_seed("environment", self.params.seed, running.request.prompt_id, running.sample)
            episode = self.environment.start(running.problem, seed)
            if (wrong := misfit_of_episode(episode)) is not None:
                raise TypeError(f"start returned {type(episode).__name__}, which {wrong}")
            running.episode = episode
        return running.episode

    def _step(self, running: _Running, text: str) -> tuple[Message, ...]:
        return _checked(resolved(self._started(running).step(text)))

    def _answer(self, key: _Key, running: _Running, outcome: Outcome[_Key]) -> None:
        """Continue an episode with the environment's message, or end it."""
        messages: Sequence[Message] = outcome.value or ()
        if not messages:
            running.failure = outcome.failure
            self._close(key, running, "stop")
            return
        room = self._room(running.request, len(running.token_ids))
        length = sum(len(message.content) for message in messages)
        if running.turns >= self.environment.max_turns or length > MAX_TOKEN_CHARACTERS * room:
            self._close(key, running, "length")
            return
        try:
            said = [(message.role, message.content) for message in messages]
            ids = self.messages.encode_all(said, after_end=running.token_ids[-1] in self.stops)
        except UserError as error:  # the chat template has no such role
            running.failure = str(error)
            self._close(key, running, "stop")
            return
        if len(ids) >= room:
            self._close(key, running, "length")
            return
        running.answered(messages, ids)
        request, length = running.request, len(running.token_ids)
        history = (*request.token_ids, *running.token_ids)
        params = replace(self.params, max_tokens=room - len(ids))
        live_id = f"{key[1]}:{running.sample}"
        before, running.computed = running.computed, self._new_prompt()
        place = (1, running.sample, length, request.prompt_id)
        self.live.add(LiveRequest(live_id, history, params, *place, begins_with=before, keep=running.computed))

    def _close(self, key: _Key, running: _Running, reason: FinishReason) -> None:
        running.reason, running.is_closing = reason, True
        self.calls.submit(key, partial(self._score, running))

    def _score(self, running: _Running) -> float | None:
        """Return the episode's score, after closing it. One that was cut off in its first turn is started for that."""
        if running.failure and running.episode is None:
            return None
        episode = self._started(running)
        try:
            score = None if running.failure else resolved(episode.score())
        finally:
            resolved(episode.close())
        number = reward_value(score)
        if score is not None and number is None:
            raise TypeError(f"score returned {score!r:.80}: must be None, or {REWARD}")
        return number

    def _completion(self, running: _Running, outcome: Outcome[_Key]) -> Completion:
        failure = running.failure or outcome.failure
        return Completion(
            prompt_id=running.request.prompt_id,
            sample=running.sample,
            token_ids=tuple(running.token_ids),
            logprobs=tuple(running.logprobs),
            text=self._text(running.written),
            finish_reason=running.reason,
            weights_version=self.engine.engine.version,
            spans=self._spans(running),
            environment_score=outcome.value,
            failure=failure and f"environment: {failure}",
        )

    def _spans(self, running: _Running) -> tuple[Span, ...]:
        tokens = iter(running.token_ids)
        parts = [(span, [*islice(tokens, span.length)]) for span in running.spans]
        return tuple(replace(span, text=self._text(ids)) if span.role == ASSISTANT else span for span, ids in parts)

    def _text(self, token_ids: Sequence[int]) -> str:
        visible = [token for token in token_ids if token not in self.stops]
        return str(self.tokenizer.decode(visible, skip_special_tokens=True))


def _checked(given: object) -> tuple[Message, ...]:
    """Return the messages that an episode's step returned. TypeError or ValueError if it returned something else."""
    if given is None:
        return ()
    messages = tuple(given) if isinstance(given, list | tuple) else (given,)
    for each in messages:
        if not isinstance(each, Message) or not isinstance(each.content, str) or each.role not in get_args(Role):
            allowed = f"must be None or a Message of text with a role of {', '.join(get_args(Role))}"
            raise TypeError(f"step returned {each!r:.120}: {allowed}")
        if not is_unicode(each.content):
            raise ValueError(f"a message: {NOT_UNICODE}")
    if not messages or (len(messages) > 1 and any(each.role == "environment" for each in messages)):
        raise ValueError(f"step returned {len(messages)} messages: must be one, or several of the roles user and tool")
    return messages


def with_tools(engine: Engine, problems: Sequence[Problem]) -> list[Problem]:
    """Return problems with the tools that the engine's environment offers; those that have tools keep theirs."""
    tools = tuple(getattr(engine.environment, "tools", ())) if isinstance(engine, EpisodeEngine) else ()
    return [replace(each, tools=tools) if tools and not each.tools else each for each in problems]


def in_environment(engine: Engine, name: str | None, settings: Settings) -> Engine:
    """Return an engine that samples episodes in an environment; the given one if there is none.

    Raises:
        UserError: There is no such environment, or vLLM servers sample.
    """
    if name is None:
        return engine
    environment = environment_named(name, None if settings.folder is None else Path(settings.folder))
    if not isinstance(engine, BlockEngine | LocalVllm):
        raise UserError(f"environment = {name!r}: {ENGINE}")
    set_call_style(environment, engine.tokenizer)
    return EpisodeEngine(engine, environment, settings.timeout)

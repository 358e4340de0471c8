"""The completions of one request, from the engine's tokens to text, and what is counted on the way."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from r1kit.engine.base import SamplingParams
from r1kit.engine.live.base import Constraint, LiveDelta, LiveRequest
from r1kit.serve.calling.parser import Calling
from r1kit.serve.limits import Admission, Limits
from r1kit.serve.metrics import Metrics, Usage
from r1kit.serve.model import ServedModel, ServedPrompt
from r1kit.serve.sample import Piece, Sample
from r1kit.serve.worker import Ticket, Worker
from r1kit.web.refusal import Refused

KEEP_ALIVE_SECONDS = 15.0  # without tokens, after which a stream sends a comment


@dataclass(frozen=True, slots=True)
class Job:
    """What a request asks for: `n` completions of each prompt."""

    model: ServedModel
    prompts: Sequence[ServedPrompt]
    params: SamplingParams
    n: int = 1
    top: int = 0
    """Likeliest tokens that are reported with each token."""
    parts_reasoning: bool = False
    constraint: Constraint | None = None
    calling: Calling | None = None

    @property
    def count(self) -> int:
        """Number of completions."""
        return self.n * len(self.prompts)


class Generation:
    """The completions of a job while they are decoded."""

    def __init__(self, job: Job, ticket: Ticket, end: float) -> None:
        self.job, self._ticket, self._end = job, ticket, end
        self._numbers = {request.id: number for number, request in enumerate(ticket.requests)}
        tokenizer, stop = job.model.tokenizer, job.params.stop
        has_format = job.constraint is not None and job.calling is None
        prompts = [prompt for prompt in job.prompts for _ in range(job.n)]
        parsers = [prompt.parser(job.calling, has_format) if job.parts_reasoning else None for prompt in prompts]
        readers = [job.calling.parser() if job.calling else None for _ in parsers]
        self._samples = [
            Sample(index, tokenizer, stop, *own) for index, own in enumerate(zip(parsers, readers, strict=True))
        ]
        self.left = len(self._samples)
        """Completions that are not finished."""

    @property
    def usage(self) -> Usage:
        """The tokens so far."""
        return Usage(
            prompt=sum(len(prompt.token_ids) for prompt in self.job.prompts),
            completion=sum(sample.length for sample in self._samples),
            reasoning=sum(sample.reasoning_tokens for sample in self._samples),
        )

    async def pieces(self) -> AsyncIterator[list[Piece]]:
        """Yield what was added, as soon as it is decoded; an empty list if nothing was for a while.

        Raises:
            Refused: Time is over, or the engine has failed.
        """
        while self.left:
            pieces = [self._samples[self._place(delta)].add(delta) for delta in await self._take()]
            self.left -= sum(piece.finish_reason is not None for piece in pieces)
            yield pieces

    async def _take(self) -> list[LiveDelta]:
        seconds = self._end - time.monotonic()
        if seconds <= 0:
            raise Refused(
                504, "no complete answer within the server's time limit: ask for fewer tokens", code="timeout"
            )
        try:
            async with asyncio.timeout(min(KEEP_ALIVE_SECONDS, seconds)):
                return await self._ticket.take()
        except TimeoutError:
            return []

    def _place(self, delta: LiveDelta) -> int:
        return self._numbers[delta.id] * self.job.n + delta.sample


class Service:
    """Everything that answers requests: models, the worker, limits and metrics."""

    def __init__(self, models: Sequence[ServedModel], worker: Worker, limits: Limits, metrics: Metrics) -> None:
        self.models = {model.name: model for model in models}
        self.worker, self.limits, self.metrics = worker, limits, metrics
        self._admission = Admission(limits)
        metrics.watch(lambda: self._admission.in_flight)

    def model(self, name: str) -> ServedModel:
        """Return a model.

        Raises:
            Refused: There is none of this name.
        """
        if (model := self.models.get(name)) is None:
            known = ", ".join(self.models)
            raise Refused(404, f"model {name[:100]!r}: this server has {known}", "model", "model_not_found")
        return model

    @asynccontextmanager
    async def generate(self, job: Job) -> AsyncIterator[Generation]:
        """Start a job; its completions are dropped when the block ends.

        Raises:
            Refused: There is no room for it, or the engine refuses it.
        """
        self._admission.enter(job.count)
        start, generation = time.monotonic(), None
        try:
            ticket = await self.worker.submit(job.model.name, _requests(job))
            try:
                yield (generation := Generation(job, ticket, start + self.limits.seconds))
            finally:
                self.worker.cancel(job.model.name, ticket)
        finally:
            seconds = time.monotonic() - start
            self._admission.leave(job.count, seconds)
            if generation is not None:
                self.metrics.count_tokens(job.model.name, generation.usage, seconds)


def _requests(job: Job) -> list[LiveRequest]:
    """Return the engine's requests. A constraint begins where the content of the prompt's completions does."""
    requests = []
    for prompt in job.prompts:
        constraint = prompt.begun(job.constraint) if job.parts_reasoning else job.constraint
        request = LiveRequest(
            uuid.uuid4().hex, prompt.token_ids, job.params, job.n, top_logprobs=job.top, constraint=constraint
        )
        requests.append(request)
    return requests

"""One HTTP response: an answer as a JSON object or as server-sent events. It ends when its client leaves."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from starlette.responses import Response

from r1kit.serve.formats import Format
from r1kit.serve.generation import Generation, Job, Service
from r1kit.serve.requests import StreamOptions
from r1kit.web.guard import Receive, Scope, Send
from r1kit.web.refusal import Refused

KEEP_ALIVE = b": waiting\n\n"  # a comment, which clients ignore
DONE = b"data: [DONE]\n\n"
EVENTS = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]


class Answer(Response):
    """The ASGI response to a job.

    Args:
        service: Decodes the job.
        job: What was asked for.
        form: The format of the answer.
        logprobs: Whether it has log-probabilities.
        stream: Whether it is sent in pieces.
        usage: Where a stream has the usage.
    """

    def __init__(
        self, service: Service, job: Job, form: type[Format], logprobs: bool, stream: bool, usage: StreamOptions
    ) -> None:
        super().__init__()
        self._service, self._job, self._form = service, job, form
        self._logprobs, self._stream, self._usage = logprobs, stream, usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer. If the client disconnects first, its completions are dropped at once.

        Raises:
            Refused: Before anything was sent.
        """
        answering = asyncio.create_task(self._answer(send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_answered = answering.done()
            for task in (answering, leaving):
                task.cancel()
            results = await asyncio.gather(answering, leaving, return_exceptions=True)
        if not is_answered:
            self._service.metrics.count_cancelled()
        elif isinstance(results[0], BaseException):
            raise results[0]

    async def _answer(self, send: Send) -> None:
        start = time.monotonic()
        async with self._service.generate(self._job) as generation:
            form = self._form(generation, self._logprobs, self._usage)
            if self._stream:
                await self._send_events(generation, form, send, start)
            else:
                await self._send_object(generation, form, send)

    async def _send_object(self, generation: Generation, form: Format, send: Send) -> None:
        pieces = [piece async for added in generation.pieces() for piece in added]
        body = _json(form.complete(pieces))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _send_events(self, generation: Generation, form: Format, send: Send, start: float) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        waits, pending = True, b"".join(map(_event, form.first_chunks()))
        try:
            async for added in generation.pieces():
                if waits and added:
                    self._service.metrics.count_first_token(time.monotonic() - start)
                    waits = False
                pending += b"".join(_event(chunk) for piece in added for chunk in form.chunks(piece))
                if generation.left and (pending or not added):  # the last ones are sent with the end
                    await _send_part(send, pending or KEEP_ALIVE)
                    pending = b""
            end = (_event(form.last_chunk()) if self._usage.include_usage else b"") + DONE
        except Refused as refused:  # too late for a status: clients raise the error of an event
            end = _event(refused.content())
        await send({"type": "http.response.body", "body": pending + end})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _event(value: Any) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

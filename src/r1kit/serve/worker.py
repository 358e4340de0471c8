"""The thread that owns all engines: requests go in from the event loop, tokens come back to it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from r1kit.engine.live.base import ConstraintError, LiveDelta, LiveEngine, LiveRequest
from r1kit.errors import UserError
from r1kit.web.refusal import Refused

Failure = Exception  # what a request ends with instead of its last tokens


class Ticket:
    """Requests that were submitted together. Made and used in the event loop only.

    Tokens that nobody has taken yet are kept, at most `max_tokens` for each completion.
    """

    def __init__(self, requests: Sequence[LiveRequest]) -> None:
        self.requests = requests
        self.left = sum(request.samples for request in requests)
        """Completions that are not finished."""
        self._deltas: list[LiveDelta] = []
        self._is_accepted = False
        self._failure: Failure | None = None
        self._changed = asyncio.Event()

    def accept(self) -> None:
        """Tell that the engine will answer the requests."""
        self._is_accepted = True
        self._changed.set()

    def put(self, delta: LiveDelta) -> None:
        """Add tokens."""
        self._deltas.append(delta)
        self.left -= delta.finish_reason is not None
        self._changed.set()

    def fail(self, failure: Failure) -> None:
        """End with an error."""
        self._failure = failure
        self._changed.set()

    async def accepted(self) -> None:
        """Wait until the engine has accepted the requests.

        Raises:
            Exception: It has refused them.
        """
        await self._changed_until(lambda: self._is_accepted)

    async def take(self) -> list[LiveDelta]:
        """Wait for tokens and return them all. Empty when all completions are finished.

        Raises:
            Exception: The requests have failed.
        """
        await self._changed_until(lambda: bool(self._deltas) or not self.left)
        deltas, self._deltas = self._deltas, []
        return deltas

    async def _changed_until(self, is_ready: Callable[[], bool]) -> None:
        while self._failure is None and not is_ready():
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure


class Worker:
    """Steps all engines that have work, in turn.

    One thread for all: two that compute at the same time would share the same cores.

    Args:
        engines: The engine of each model.
    """

    def __init__(self, engines: Mapping[str, LiveEngine]) -> None:
        self._engines = engines
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._tickets: dict[str, Ticket] = {}  # by the id of each request that is not finished
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="engines", daemon=True)
        self.failure: Exception | None = None
        """What an engine has failed with."""

    def start(self) -> None:
        """Start the thread. Called in the event loop, which gets all tokens."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit(self, model: str, requests: Sequence[LiveRequest]) -> Ticket:
        """Hand requests to a model's engine, and return when it has accepted them.

        Raises:
            Refused: The engine refuses them.
        """
        if self.failure is not None:
            raise Refused(500, "the engine has failed; see the server's messages", code="engine_failed")
        ticket = Ticket(requests)
        self._tickets |= {request.id: ticket for request in requests}
        self._commands.put(lambda: self._add(self._engines[model], ticket))
        try:
            await ticket.accepted()
        except BaseException:
            self.cancel(model, ticket)
            raise
        return ticket

    def cancel(self, model: str, ticket: Ticket) -> None:
        """Drop requests that nobody waits for. Does nothing for finished ones."""
        ids = [request.id for request in ticket.requests if self._tickets.pop(request.id, None)]
        if ids:
            self._commands.put(lambda: self._drop(self._engines[model], ids))

    def cut_off(self) -> None:
        """End all requests with an error: the server stops."""
        self._fail(Refused(503, "the server is stopping", code="stopping"))

    def stop(self) -> None:
        """End the thread and close the engines."""
        self._commands.put(self._end)
        self._thread.join()

    def _fail(self, failure: Failure) -> None:
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            ticket.fail(failure)

    def _deliver(self, deltas: Sequence[LiveDelta]) -> None:
        """Hand tokens to those who wait for them."""
        for delta in deltas:
            if (ticket := self._tickets.get(delta.id)) is None:
                continue  # cancelled meanwhile
            if delta.finish_reason == "error":
                ticket.fail(_refused(delta.error, ticket.requests))
            else:
                ticket.put(delta)
            if not ticket.left:
                for request in ticket.requests:
                    self._tickets.pop(request.id, None)

    # The methods below run in the thread.

    def _run(self) -> None:
        try:
            while not self._ends:
                self._work()
        except Exception as error:
            self.failure = error
            self._call(lambda: self._fail(Refused(500, "the engine has failed", code="engine_failed")))
            raise
        finally:
            for engine in self._engines.values():
                engine.close()

    def _work(self) -> None:
        """Do what was asked for meanwhile, then decode a few tokens of everything."""
        has_work = any(engine.has_work for engine in self._engines.values())
        while not has_work or not self._commands.empty():
            self._commands.get()()
            has_work = True  # wait for the first command only
        deltas = [delta for engine in self._engines.values() if engine.has_work for delta in engine.step()]
        if deltas:
            self._call(lambda: self._deliver(deltas))

    def _call(self, function: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(function)

    def _end(self) -> None:
        self._ends = True

    def _add(self, engine: LiveEngine, ticket: Ticket) -> None:
        try:
            for request in ticket.requests:
                engine.add(request)
        except UserError as error:
            refused = _refused(error, ticket.requests)
            self._call(lambda: ticket.fail(refused))
        else:
            self._call(ticket.accept)

    def _drop(self, engine: LiveEngine, ids: Sequence[str]) -> None:
        for each in ids:
            engine.cancel(each)


def _refused(error: Exception | None, requests: Sequence[LiveRequest]) -> Refused:
    """Return the refusal for an engine's error: a status that clients do not retry for what would fail again."""
    if not isinstance(error, UserError):
        return Refused(503, str(error), code="engine_error")
    if not isinstance(error, ConstraintError):
        return Refused(400, str(error))
    kinds = {request.constraint.kind for request in requests if request.constraint is not None}
    fields = {"lark": "tools", "json_schema": "response_format.json_schema.schema"}
    return Refused(
        400, str(error), param=fields[kinds.pop()] if kinds and kinds <= fields.keys() else "response_format"
    )

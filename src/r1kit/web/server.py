"""Start and stop a web server. Needs the extra `serve`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from r1kit.console import say
from r1kit.web.guard import HEADER_BYTES, App, Guard
from r1kit.web.hosting import Hosting

HEADER_SECONDS = 10.0  # from the first byte of a request, or from connecting, to the end of its headers
STALLED_SECONDS = 30.0  # a client reads nothing for so long: its connection is closed
CLOSING_SECONDS = 3  # for connections to close at the end


def run(
    app: App,
    hosting: Hosting,
    ready: Callable[[str], None],
    *,
    max_body: int = 64 * 1024,
    open_paths: Collection[str] = (),
    grace: float = 0.0,
    cut_off: Callable[[], None] = lambda: None,
    failure: Callable[[], Exception | None] = lambda: None,
) -> None:
    """Serve an application until ^C or SIGTERM, then return.

    After the signal new requests get status 503, and those that are being answered are finished. A second signal ends
    them at once.

    Args:
        app: An ASGI application.
        hosting: Where to listen and whose requests to answer.
        ready: Called with the server's URL when it accepts connections.
        max_body: Bytes of a request's body, at most.
        open_paths: Paths that need no key.
        grace: Seconds for requests that are being answered when the server is stopped.
        cut_off: Called when that time is over: must end the requests that are left.
        failure: Asked ten times a second. The server ends with the exception that it returns.

    Raises:
        UserError: The address is taken.
        Exception: What `failure` has returned.
    """
    guard = Guard(app, hosting, max_body, open_paths)
    listener = hosting.open_socket()
    config = uvicorn.Config(
        _with_origins(guard, hosting),
        http=_Connection,
        ws="none",
        log_level="error",  # a malformed request is not worth a line: anybody can send many
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )
    _Server(config, guard, grace, cut_off, failure, lambda: ready(hosting.url(listener))).run([listener])
    if (error := failure()) is not None:
        raise error


def _with_origins(app: App, hosting: Hosting) -> App:
    """Let pages of the allowed origins send requests and read responses. Outermost: their preflights have no key."""
    if not hosting.allowed_origins:
        return app
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app,
        allow_origins=list(hosting.allowed_origins),
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
    )


class _Server(uvicorn.Server):
    """Stops in two steps: first it finishes what it is answering, then it closes its connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        guard: Guard,
        grace: float,
        cut_off: Callable[[], None],
        failure: Callable[[], Exception | None],
        ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._guard, self._grace, self._cut_off, self._failure, self._ready = guard, grace, cut_off, failure, ready
        self._end: float | None = None  # when requests are cut off; None before the first signal
        self._signals = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Count a signal. What it asks for happens outside the handler."""
        self._signals += 1
        self._guard.stopping = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether to close connections and end; called ten times a second."""
        if counter == 0:
            self._ready()
        await super().on_tick(counter)
        if self._failure() is not None:
            return True
        if not self._guard.stopping:
            return False
        if self._end is None:
            self._end = time.monotonic() + self._grace
            if self._guard.active and self._grace:
                count = f"{self._guard.active} request{'s' if self._guard.active > 1 else ''}"
                say(f"stopping: finishing {count} within {self._grace:.0f} seconds; signal again to stop now")
        if self._guard.active and self._signals == 1 and time.monotonic() < self._end:
            return False
        self._cut_off()
        return True


class _Connection(H11Protocol):
    """A connection whose client must send its headers, and read what it asked for, in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._headers = _Deadline(self.loop, HEADER_SECONDS, transport.abort)
        self._reader = _Deadline(self.loop, STALLED_SECONDS, transport.abort)
        self._headers.start()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._headers.start()
        else:
            self._headers.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._headers.stop()
        self._reader.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Stop writing: the client does not read."""
        super().pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        """Write again: the client reads."""
        self._reader.stop()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, without waiting for a client that has not read its response."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()


class _Deadline:
    """Calls a function some time after `start`, unless `stop` is called before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, call: Callable[[], None]) -> None:
        self._loop, self._seconds, self._call = loop, seconds, call
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the time. Does nothing while it runs."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._call)

    def stop(self) -> None:
        """Stop the time. Does nothing if it does not run."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

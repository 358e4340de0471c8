"""A client for OpenAI-compatible endpoints: retries, bounded time and concurrency, disk cache, usage counts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import tenacity

from r1kit.console import heartbeat
from r1kit.files import write_bytes
from r1kit.rewards.judge.answer import Answer, parse_answer
from r1kit.rewards.judge.endpoint import Endpoint, EndpointError

RETRIED_STATUSES = {408, 409, 425, 429, 500, 502, 503, 504}
FIRST_PAUSE, MAX_PAUSE = 0.5, 30.0  # seconds; doubled after each try
MAX_ANSWER_BYTES = 8 << 20

T = TypeVar("T")
Done = Callable[[int, Answer | EndpointError], None]  # called with the index of a request and what came of it


class _FailedTry(Exception):
    """One try gave no answer. The message says why."""

    def __init__(self, reason: str, *, retried: bool = True, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retried = retried
        self.retry_after = retry_after  # seconds that the server asked to wait


class Client:
    """Sends requests to one endpoint. Several threads may share a client."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        # No redirects: they would carry the key to another host. No compression: a small body could become a huge one.
        # No timeout of a single read: _request bounds the complete request, which also stops a slowly dripping server.
        self._http = httpx.AsyncClient(follow_redirects=False, headers={"Accept-Encoding": "identity"}, timeout=None)
        self._usage: dict[str, float] = {}
        self._usage_lock = threading.Lock()

    def complete(self, messages: Sequence[Mapping[str, str]], **parameters: Any) -> Answer:
        """Return one chat completion. `parameters` are those of the API, such as temperature, max_tokens or seed.

        Waits while `max_concurrent` other requests are in flight; this wait does not count towards `total_timeout`.

        Raises:
            EndpointError: No try gave an answer within `total_timeout`.
        """
        with heartbeat(f"waiting for {self.endpoint.model} at {self.endpoint.base_url}"):
            return _run(self._complete({"messages": list(messages), **parameters}))

    def complete_all(self, requests: Sequence[Mapping[str, Any]], on_done: Done) -> None:
        """Send requests together, `max_concurrent` at a time, and call `on_done` with each as soon as it is done.

        If `on_done` raises, the other requests are cancelled, and its exception is raised here.

        Args:
            requests: Parameters of the API, with `messages` for a chat, or `prompt` for a text to continue.
            on_done: Called in another thread, one call at a time.
        """
        _run(self._complete_all(requests, on_done))

    async def _complete_all(self, requests: Sequence[Mapping[str, Any]], on_done: Done) -> None:
        async def one(index: int, request: Mapping[str, Any]) -> None:
            try:
                answer: Answer | EndpointError = await self._complete(request)
            except EndpointError as error:
                answer = error
            on_done(index, answer)

        try:
            async with asyncio.TaskGroup() as tasks:
                for index, request in enumerate(requests):
                    tasks.create_task(one(index, request))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _complete(self, request: Mapping[str, Any]) -> Answer:
        """Return the answer to a request: from the cache, or from the endpoint."""
        body = json.dumps({"model": self.endpoint.model, **request}, sort_keys=True).encode()
        path = self._cache_path(body)
        if (cached := _read_cached(path)) is not None:
            self._count(cached=1)
            return cached
        raw, answer = await self._request("/completions" if "prompt" in request else "/chat/completions", body)
        cost = answer.prompt_tokens * self.endpoint.prompt_price
        cost += answer.completion_tokens * self.endpoint.completion_price
        self._count(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens, cost=cost / 1e6)
        if path is not None:
            await _finish(asyncio.to_thread(_store, path, raw))
        return answer

    def take_usage(self) -> dict[str, float]:
        """Return requests, retries, cached answers, tokens and cost since the last call."""
        with self._usage_lock:
            usage, self._usage = self._usage, {}
        return usage

    def close(self) -> None:
        """Close idle connections."""
        _run(self._http.aclose())

    async def _request(self, route: str, body: bytes) -> tuple[bytes, Answer]:
        """Send a request until a try succeeds; return the raw and the parsed answer."""
        endpoint = self.endpoint
        tries = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, _FailedTry) and error.retried),
            stop=tenacity.stop_after_attempt(endpoint.tries) | tenacity.stop_before_delay(endpoint.total_timeout),
            wait=_pause,
            before=lambda state: self._count(requests=1, retries=min(1, state.attempt_number - 1)),
            reraise=True,
        )
        async with _slots_of(endpoint):
            try:
                async with asyncio.timeout(endpoint.total_timeout):
                    return await tries(self._try, route, body)
            except TimeoutError:
                reason = f"no complete answer within {endpoint.total_timeout:g} seconds"
            except _FailedTry as error:
                reason = str(error)
        count = tries.statistics["attempt_number"]
        raise EndpointError(
            f"{endpoint.base_url} (model {endpoint.model}) gave no answer after {count} "
            f"{'try' if count == 1 else 'tries'}: {reason}"
        )

    async def _try(self, route: str, body: bytes) -> tuple[bytes, Answer]:
        try:
            raw = await self._post(route, body)
            return raw, parse_answer(raw)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _FailedTry(_reason(error)) from error

    async def _post(self, route: str, body: bytes) -> bytes:
        url = self.endpoint.base_url.rstrip("/") + route
        headers = {"Content-Type": "application/json", **self._authorization()}
        async with self._http.stream("POST", url, content=body, headers=headers) as response:
            if not response.is_success:
                reason = (await _read(response, 300))[:300].decode(errors="replace")
                raise _FailedTry(
                    f"HTTP {response.status_code}: {reason}",
                    retried=response.status_code in RETRIED_STATUSES,
                    retry_after=_seconds(response.headers.get("Retry-After")),
                )
            raw = await _read(response, MAX_ANSWER_BYTES)
        if len(raw) > MAX_ANSWER_BYTES:
            raise ValueError(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        return raw

    def _authorization(self) -> dict[str, str]:
        key = os.environ.get(self.endpoint.api_key_env, "").strip()
        if not (key.isascii() and key.isprintable()):  # httpx would quote it in its error message
            reason = f"environment variable {self.endpoint.api_key_env}: must hold printable ASCII characters only"
            raise _FailedTry(reason, retried=False)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _cache_path(self, body: bytes) -> Path | None:
        if self.endpoint.cache is None:
            return None
        key = hashlib.sha256(self.endpoint.base_url.encode() + b"\0" + body).hexdigest()
        return Path(self.endpoint.cache) / key[:2] / f"{key}.json"

    def _count(self, **amounts: float) -> None:
        with self._usage_lock:
            for name, amount in amounts.items():
                self._usage[name] = self._usage.get(name, 0) + amount


_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()
_cache_lock = threading.Lock()
_slots: dict[tuple[str, int], asyncio.Semaphore] = {}  # (base_url, limit) -> slots; used in the loop's thread only


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the event loop that all clients share, in a background thread, and wait for its result."""
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="endpoint", daemon=True).start()
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop)
    try:
        return future.result()
    except BaseException:  # ^C must not leave the request running
        future.cancel()
        raise


async def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Await work to its end even if this task is cancelled meanwhile: an answer that was paid for is kept."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _slots_of(endpoint: Endpoint) -> asyncio.Semaphore:
    """Return the semaphore that all clients of one base_url share in this process."""
    key = endpoint.base_url, endpoint.max_concurrent
    return _slots.setdefault(key, asyncio.Semaphore(endpoint.max_concurrent))


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds before the next try: what the server asks for, else exponential backoff."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _FailedTry) and error.retry_after is not None:
        return error.retry_after
    return min(FIRST_PAUSE * 2.0 ** (state.attempt_number - 1), MAX_PAUSE)


def _reason(error: Exception) -> str:
    """Return the error's message and that of its root cause: httpx says "All connection attempts failed" only."""
    root: BaseException = error
    while cause := root.exceptions[0] if isinstance(root, ExceptionGroup) else root.__cause__ or root.__context__:
        root = cause
    return f"{type(error).__name__}: {error}" + ("" if str(root) in str(error) else f" ({root})")


async def _read(response: httpx.Response, limit: int) -> bytes:
    """Read a body until its end, or just past `limit` bytes."""
    raw = bytearray()
    async for chunk in response.aiter_raw():
        raw += chunk
        if len(raw) > limit:
            break
    return bytes(raw)


def _read_cached(path: Path | None) -> Answer | None:
    if path is not None and path.is_file():
        with suppress(ValueError):  # a damaged entry: send the request again
            return parse_answer(path.read_bytes())
    return None


def _store(path: Path, raw: bytes) -> None:
    with _cache_lock:  # threads of a process share the name of write_bytes' temporary file
        write_bytes(path, raw)


def _seconds(retry_after: str | None) -> float | None:
    """Return a Retry-After header, a number or an HTTP date, as seconds from now; None if it is neither."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())

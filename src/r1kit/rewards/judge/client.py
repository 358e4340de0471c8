"""A client of any OpenAI-compatible chat endpoint: retried, bounded in time, cached on disk, its cost counted."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.errors import UserError
from r1kit.files import write_bytes

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}  # statuses that another try may mend
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; doubled after each try
LARGEST_ANSWER = 8 << 20  # bytes


class EndpointError(Exception):
    """No usable answer, after all tries. Says nothing about what was to be judged."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers, and what may be spent on one answer."""

    base_url: str  # up to and without /chat/completions
    model: str
    api_key_env: str = "OPENAI_API_KEY"  # the variable that holds the key, so that no recipe or log does
    total_timeout: float = 300.0  # seconds for one answer, all tries and pauses together
    tries: int = 6
    cache: str | None = None  # a folder; the same request is asked once
    prompt_price: float = 0.0  # of a million tokens, in any currency
    completion_price: float = 0.0

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise UserError(f"base_url {self.base_url!r}: give an http:// or https:// address such as https://HOST/v1")


@dataclass(frozen=True)
class Answer:
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Client:
    """Asks one endpoint. Not for use from two threads at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._opener = urllib.request.build_opener(_NoRedirect())
        self._usage: dict[str, float] = {}

    def complete(self, messages: Sequence[Mapping[str, str]], **parameters: Any) -> Answer:
        """One completion. `parameters` are the API's: temperature, max_tokens, seed... EndpointError when none came."""
        request = {"model": self.endpoint.model, "messages": list(messages), **parameters}
        body = json.dumps(request, sort_keys=True).encode()
        if (known := self._recall(body)) is not None:
            self._count(cached=1)
            return known
        raw, answer = self._ask(body)
        self._count(
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            cost=self._cost(answer),
        )
        if (place := self._place(body)) is not None:
            write_bytes(place, raw)
        return answer

    def take_usage(self) -> dict[str, float]:
        """Requests, retries, cached answers, tokens and cost since the last call."""
        usage, self._usage = self._usage, {}
        return usage

    def _ask(self, body: bytes) -> tuple[bytes, Answer]:
        """Raw and parsed answer of the first try that succeeds."""
        deadline = time.monotonic() + self.endpoint.total_timeout
        pause, why = FIRST_PAUSE, ""
        for number in range(self.endpoint.tries):
            self._count(requests=1, retries=min(1, number))
            wait: float | None = None
            try:
                raw = self._post(body, deadline)
                return raw, _parse(raw)
            except urllib.error.HTTPError as error:
                with error:
                    why = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
                if error.code not in RETRIED:
                    break
                wait = _seconds(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException, ValueError) as error:  # no connection, cut off, or no JSON
                why = f"{type(error).__name__}: {error}"
            wait = pause if wait is None else wait
            if number + 1 == self.endpoint.tries or time.monotonic() + wait >= deadline:
                break
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise EndpointError(f"{self.endpoint.base_url} ({self.endpoint.model}) gave no answer: {why}")

    def _post(self, body: bytes, deadline: float) -> bytes:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.endpoint.api_key_env):
            headers["Authorization"] = f"Bearer {key}"
        url = self.endpoint.base_url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, body, headers)
        raw = b""
        with self._opener.open(request, timeout=max(0.01, deadline - time.monotonic())) as response:
            while piece := response.read1(1 << 16):
                raw += piece
                if time.monotonic() > deadline:  # a socket's own timeout starts anew with every piece
                    raise TimeoutError(f"no complete answer within {self.endpoint.total_timeout:g} seconds")
                if len(raw) > LARGEST_ANSWER:
                    raise ValueError(f"the answer has more than {LARGEST_ANSWER} bytes")
        return raw

    def _place(self, body: bytes) -> Path | None:
        if self.endpoint.cache is None:
            return None
        key = hashlib.sha256(self.endpoint.base_url.encode() + b"\0" + body).hexdigest()
        return Path(self.endpoint.cache) / key[:2] / f"{key}.json"

    def _recall(self, body: bytes) -> Answer | None:
        place = self._place(body)
        if place is None or not place.is_file():
            return None
        try:
            return _parse(place.read_bytes())
        except ValueError:  # damaged: ask again
            return None

    def _count(self, **amounts: float) -> None:
        for name, amount in amounts.items():
            self._usage[name] = self._usage.get(name, 0) + amount

    def _cost(self, answer: Answer) -> float:
        place = self.endpoint
        return (answer.prompt_tokens * place.prompt_price + answer.completion_tokens * place.completion_price) / 1e6


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host: it is an error instead."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _parse(raw: bytes) -> Answer:
    """The first choice of a chat completion. ValueError when it is none."""
    try:
        value = json.loads(raw)
        choice, usage = value["choices"][0], value.get("usage") or {}
        text = choice["message"]["content"]
        tokens = (int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no chat completion: {raw[:200]!r} ({type(error).__name__}: {error})") from error
    if not isinstance(text, str):
        raise ValueError(f"a chat completion without text: {raw[:200]!r}")
    return Answer(text, str(choice.get("finish_reason") or ""), *tokens)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds; its other form, a date, is left to our own pauses."""
    return float(retry_after) if retry_after and retry_after.strip().isdecimal() else None

"""Answers of a server that speaks OpenAI's chat completions, such as `r1kit serve`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from r1kit.errors import UserError
from r1kit.serve.terminal.conversation import Message, Piece, Settings
from r1kit.tools.base import Tool

CONNECT_SECONDS = 10.0
SILENT_SECONDS = 600.0  # for the first token, and between tokens


class RemoteModel:
    """A model at an endpoint.

    Args:
        url: The endpoint, such as http://127.0.0.1:8000/v1.
        name: The model's name there.
        key_variable: The environment variable with the API key, if one is needed.

    Raises:
        UserError: The URL has another form, or the server does not answer or has no such model.
    """

    def __init__(self, url: str, name: str, key_variable: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"--endpoint {url}: must be an http:// or https:// URL such as http://127.0.0.1:8000/v1")
        key = os.environ.get(key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):  # httpx would quote it in its error message
            raise UserError(f"environment variable {key_variable}: must hold printable ASCII characters only")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._url, self._name, self._key_variable = url, name, key_variable
        self.reads_conversations = bool(self._description().get("conversations", True))
        """Whether the model sees the system prompt and earlier turns. Only r1kit's servers say when it does not."""

    def stream(
        self, messages: Sequence[Message], settings: Settings, seed: int, tools: Sequence[Tool]
    ) -> Iterator[Piece]:
        """Yield an answer as it grows. See `Backend.stream`."""
        body = {
            "model": self._name,
            "messages": [*messages],
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tools:
            body["tools"] = [tool.definition() for tool in tools]
        if settings.max_tokens is not None:
            body["max_tokens"] = settings.max_tokens
        try:
            with self._http.stream("POST", "chat/completions", json=body) as response:
                self._check(response)
                yield from self._pieces(response)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None

    def _description(self) -> dict[str, Any]:
        """Return the model's entry in the list of models."""
        try:
            response = self._http.get("models")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        self._check(response)
        try:
            models = {model["id"]: model for model in response.json()["data"]}
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self._url}: gives no list of models; is it an OpenAI-compatible endpoint?") from None
        if self._name not in models:
            raise UserError(f"model {self._name!r}: {self._url} has {', '.join(models) or 'no models'}")
        return dict(models[self._name])

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        reason = _message(response.read()) or f"HTTP status {response.status_code}"
        if response.status_code == httpx.codes.UNAUTHORIZED:
            reason += f"; set the environment variable {self._key_variable} to its API key"
        if wait := response.headers.get("Retry-After"):
            reason += f"; try again in {wait} seconds"
        raise UserError(f"{self._url}: {reason}")

    def _events(self, response: httpx.Response) -> Iterator[dict[str, Any]]:
        for line in response.iter_lines():
            if not line.startswith("data:"):
                continue
            data = line.removeprefix("data:").strip()
            if data == "[DONE]":
                return
            event = json.loads(data)
            if "error" in event:
                raise UserError(f"{self._url}: {event['error'].get('message', event['error'])}")
            yield event
        raise UserError(f"{self._url}: the connection was cut before the answer was complete")

    def _pieces(self, response: httpx.Response) -> Iterator[Piece]:
        """Yield what each event adds; calls of tools, whose arguments come in parts, at the end."""
        finish_reason, tokens, calls = None, 0, dict[int, Message]()
        for event in self._events(response):
            choice = (event.get("choices") or [{}])[0]
            delta = choice.get("delta", {})
            finish_reason = choice.get("finish_reason") or finish_reason
            tokens = (event.get("usage") or {}).get("completion_tokens", 0)
            for part in delta.get("tool_calls") or []:
                _extend(calls, part)
            yield Piece(delta.get("reasoning_content") or "", delta.get("content") or "", (), (), finish_reason, tokens)
        if calls:
            yield Piece(calls=tuple(calls.values()), finish_reason=finish_reason, tokens=tokens)

    def _unreachable(self, error: Exception) -> UserError:
        return UserError(f"{self._url}: {error}; check that the server runs")


def _message(body: bytes) -> str:
    """Return the message of an error in the API's format; else the beginning of the body."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace").strip()


def _extend(calls: dict[int, Message], part: Message) -> None:
    """Add a part of a call to the calls of an answer, by their index."""
    empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
    call, function = calls.setdefault(part.get("index", 0), empty), part.get("function") or {}
    call["id"] += part.get("id") or ""
    for name in ("name", "arguments"):
        call["function"][name] += function.get(name) or ""

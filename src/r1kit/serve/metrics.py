"""Counters and durations in Prometheus' format."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Usage(NamedTuple):
    """Tokens of a request."""

    prompt: int
    completion: int
    reasoning: int
    """Those of the completions that are reasoning."""


class Metrics:
    """The metrics of one server. Models are known names only, so labels are few."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self._requests = Counter("r1kit_requests", "Answered requests", ["path", "status"], registry=own)
        self._prompt = Counter("r1kit_prompt_tokens", "Tokens of prompts", ["model"], registry=own)
        self._completion = Counter("r1kit_completion_tokens", "Tokens of completions", ["model"], registry=own)
        self._reasoning = Counter(
            "r1kit_reasoning_tokens", "Tokens of completions that are reasoning", ["model"], registry=own
        )
        self._cancelled = Counter("r1kit_cancelled", "Requests whose client left before the end", registry=own)
        self._seconds = Histogram(
            "r1kit_request_seconds", "From a request to its end", ["model"], buckets=SECONDS, registry=own
        )
        self._first = Histogram(
            "r1kit_first_token_seconds", "From a request to its first token", buckets=SECONDS, registry=own
        )
        self._in_flight = Gauge("r1kit_completions_in_flight", "Completions that are decoded or waiting", registry=own)

    def watch(self, in_flight: Callable[[], int]) -> None:
        """Read the number of completions in flight from a function."""
        self._in_flight.set_function(in_flight)

    def count_request(self, path: str, status: int) -> None:
        """Count an answered request."""
        self._requests.labels(path, str(status)).inc()

    def count_cancelled(self) -> None:
        """Count a request whose client left."""
        self._cancelled.inc()

    def count_first_token(self, seconds: float) -> None:
        """Count how long a request waited for its first token."""
        self._first.observe(seconds)

    def count_tokens(self, model: str, usage: Usage, seconds: float) -> None:
        """Count the tokens and the duration of a request to a model."""
        self._prompt.labels(model).inc(usage.prompt)
        self._completion.labels(model).inc(usage.completion)
        self._reasoning.labels(model).inc(usage.reasoning)
        self._seconds.labels(model).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self._registry)

"""Where a language model answers, and how much one answer may cost. Imports no HTTP library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from r1kit.errors import UserError

if TYPE_CHECKING:
    from r1kit.config import Service


SAMPLING_TIMEOUT = 7_200.0  # seconds for a measured completion: 32,768 tokens at 5 tokens a second, and retries


class EndpointError(Exception):
    """The endpoint gave no usable answer after all tries. Not a judgement of any answer."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible chat endpoint and the limits of a request to it. Plain values: it travels as JSON."""

    base_url: str  # without /chat/completions
    model: str
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable with the key: recipes and logs never contain it
    total_timeout: float = 300.0  # seconds for one answer, all tries and pauses together
    tries: int = 6
    cache: str | None = None  # directory of answers; a request that it holds is not sent again
    prompt_price: float = 0.0  # per million tokens, in any currency
    completion_price: float = 0.0
    max_concurrent: int = 8  # requests in flight to one base_url, over all threads of a process

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise UserError(f"base_url = {self.base_url!r}: must be an http:// or https:// URL such as https://HOST/v1")
        if self.max_concurrent < 1 or self.tries < 1:
            raise UserError(f"max_concurrent = {self.max_concurrent}, tries = {self.tries}: must be at least 1")

    @classmethod
    def from_service(cls, service: Service, cache: Path | None = None, total_timeout: float = 300.0) -> Endpoint:
        """Return the endpoint that a recipe's `judge`, `rewriter` or `endpoint` describes."""
        folder = None if cache is None else str(cache)
        limit = service.max_concurrent
        return cls(
            service.base_url, service.model, service.api_key_env, total_timeout, cache=folder, max_concurrent=limit
        )

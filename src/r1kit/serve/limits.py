"""What one request may ask for, and how many may wait."""

from __future__ import annotations

from dataclasses import dataclass, fields

from r1kit.errors import UserError
from r1kit.web.refusal import Refused

MAX_N = 128  # completions of a request
MAX_PROMPTS = 128  # prompts of a request to /v1/completions
MAX_STOP, MAX_STOP_LENGTH = 16, 256  # stop strings, and characters in each
MAX_MESSAGES = 2048
MAX_TOOLS = 128  # of a request
MAX_CALL_ID = 256  # characters
MAX_DEPTH = 64  # of lists and objects in each other
MAX_BODY = 2 * 1024 * 1024  # bytes of a request
MAX_RETRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that the command line sets.

    Raises:
        UserError: One of them is not positive.
    """

    max_tokens: int = 32_768
    """Tokens of a completion, at most; fewer where the model's context is shorter."""
    max_concurrent: int = 64
    """Completions that are decoded at the same time."""
    max_queue: int = 256
    """Further completions that may wait."""
    seconds: float = 600.0
    """For a request, waiting included."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value, least = getattr(self, each.name), 0 if each.name == "max_queue" else 1
            if value < least:
                raise UserError(f"{each.name} = {value}: must be at least {least}")


class Admission:
    """Counts the completions that are decoded or waiting, over all models."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.in_flight = 0
        self._seconds = 1.0  # for one completion, on average

    def enter(self, count: int) -> None:
        """Count completions in.

        Raises:
            Refused: There is no room for them.
        """
        most = self._limits.max_concurrent + self._limits.max_queue
        if count > most:
            raise Refused(400, f"{count} completions in one request: at most {most} on this server", param="n")
        if self.in_flight + count > most:
            rounds = (self.in_flight + count - most) / self._limits.max_concurrent
            wait = max(1, min(MAX_RETRY_SECONDS, round(rounds * self._seconds)))
            raise Refused(
                429,
                f"{self.in_flight} completions are running or waiting; try again in {wait} s",
                code="overloaded",
                headers={"Retry-After": str(wait)},
            )
        self.in_flight += count

    def leave(self, count: int, seconds: float) -> None:
        """Count completions out that took so long."""
        self.in_flight -= count
        self._seconds += 0.1 * (seconds - self._seconds)

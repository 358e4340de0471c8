"""Errors that people can act on, and suggestions for misspelt names. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the person who typed the command can fix. Shown as one message, without a traceback."""


class Interrupted(Exception):
    """Stopped by ^C or SIGTERM, not by a fault; the message says how to go on."""


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `given` most likely meant."""
    matches = difflib.get_close_matches(given, list(allowed), n=1)
    return matches[0] if matches else None

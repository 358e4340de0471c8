"""Errors that users can fix, suggestions for misspelt names, and imports of optional packages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from r1kit.synonyms import synonym_of


class UserError(ValueError):
    """A mistake that the user can fix. The command line prints the message without a traceback."""


class Interrupted(Exception):
    """The run was stopped by ^C or SIGTERM. The message says how to continue it."""


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name of which `given` is a synonym, or else the most similar one, or None."""
    names = list(allowed)
    similar = difflib.get_close_matches(given, names, n=1)
    return synonym_of(given, names) or (similar[0] if similar else None)


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an optional dependency.

    Raises:
        UserError: The module is not installed. The message names the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:  # the module is there, but one that it imports is missing
            raise
        raise UserError(f"{error.name} is not installed: run pip install 'r1kit[{extra}]'") from None

"""Rewards of the user's own: a Python function (problem, text) -> number, named by its import path."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import isfinite
from numbers import Real
from pathlib import Path

from r1kit.errors import UserError
from r1kit.types import Problem

UserReward = Callable[[Problem, str], float]  # (problem, completion text) -> reward


class RewardError(UserError):
    """A reward that does not exist, or one that came to no number. Never scored as 0."""


def value_of(name: str, folder: Path | None, problem: Problem, text: str) -> float:
    """What the user's function says. RewardError when it raises or returns no finite number."""
    try:
        value = load(name, folder)(problem, text)
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(f"reward {name} failed on problem {problem.id}: {type(error).__name__}: {error}") from error
    if not isinstance(value, Real) or not isfinite(value):
        raise RewardError(f"reward {name} returned {value!r} for problem {problem.id}: it must return a finite number")
    return float(value)


@lru_cache
def load(name: str, folder: Path | None) -> UserReward:
    """The function behind `package.module:function`. RewardError says what is wrong with the name."""
    module, _, function = name.partition(":")
    try:
        with _importable(folder):
            found = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs the user's module
        raise RewardError(
            f"reward {name}: {error}. The module must lie beside the recipe, be installed, or be on PYTHONPATH"
        ) from error
    if not callable(found):
        raise RewardError(f"reward {name} is a {type(found).__name__}: it must be a function of (problem, text)")
    try:
        inspect.signature(found).bind(None, "")
    except TypeError as error:
        raise RewardError(f"reward {name} cannot be called with (problem, text): {error}") from error
    return found


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """Modules of `folder` can be imported within, and only within."""
    before = list(sys.path)
    if folder is not None:
        sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before

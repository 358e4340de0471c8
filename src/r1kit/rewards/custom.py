"""User-defined rewards: Python functions (problem, text) -> number, named by import path."""

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
    """A reward does not exist or did not return a number. Such a sample is masked, never scored 0."""


def value_of(name: str, folder: Path | None, problem: Problem, text: str) -> float:
    """Call the user's function. RewardError when it raises or does not return a finite number."""
    try:
        value: object = load(name, folder)(problem, text)
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(f"reward {name} failed on problem {problem.id}: {type(error).__name__}: {error}") from error
    if not isinstance(value, Real) or not isfinite(value):
        raise RewardError(f"reward {name} returned {value!r} for problem {problem.id}: must return a finite number")
    return float(value)


@lru_cache
def load(name: str, folder: Path | None) -> UserReward:
    """Import the function `package.module:function`. RewardError when that fails or its signature does not fit."""
    module, _, attribute = name.partition(":")
    try:
        with _importable(folder):
            function = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # importing runs the user's module
        raise RewardError(
            f"reward {name}: {error}. Put the module into the recipe's directory, install it, or add it to PYTHONPATH"
        ) from error
    if not callable(function):
        raise RewardError(f"reward {name} is of type {type(function).__name__}: must be a function of (problem, text)")
    try:
        inspect.signature(function).bind(None, "")
    except TypeError as error:
        raise RewardError(f"reward {name} cannot be called with (problem, text): {error}") from error
    reward: UserReward = function
    return reward


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """Make the modules of `folder` importable inside the context only."""
    before = list(sys.path)
    if folder is not None:
        sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before

"""User-defined rewards: Python functions, named by import path, that return a number for a completion.

A function with one required parameter gets a `RewardInput`, one with two gets the problem and the text.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any

from r1kit.console import heartbeat
from r1kit.errors import UserError
from r1kit.rewards.reply import RewardInput
from r1kit.rewards.services import now_doing
from r1kit.synonyms import nearest
from r1kit.types import Problem

MAX_QUESTION, MAX_SHOWN = 60, 300  # characters of a question or a value in a message
MAX_REWARD = 1e9  # of either sign; the square of a much larger one is infinite in float32
REWARD = f"a number between -{MAX_REWARD:g} and {MAX_REWARD:g}"
MAX_BITS = 1024  # of an integer in a message; larger ones exceed the range of a float

UserReward = Callable[[RewardInput], float]


class RewardError(UserError):
    """A reward does not exist or did not return a number. Such a sample is masked, never scored 0."""


def value_of(name: str, folder: Path | None, completion: RewardInput) -> float:
    """Call the user's function. RewardError when it raises or does not return a reward."""
    now_doing(f"reward {name}")
    function = load(name, folder)
    where = f"problem {completion.problem.id}, {label(completion.problem)}"
    try:
        value: object = function(completion)
        number = reward_value(value)
        shown = "" if number is not None else _describe(value)
    except RewardError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # no signal: a terminal's ^C reaches no worker process
        reason = f"{type(error).__name__}: {_shorten(error)}"
        raise RewardError(f"reward {name} failed on {where}: {reason}") from error
    if number is None:
        allowed = f"must return {REWARD}" + " for one completion" * isinstance(value, list | tuple)
        raise RewardError(f"reward {name} returned {shown} for {where}: {allowed}")
    return number


def label(problem: Problem) -> str:
    """Name a problem in a message by its question, shortened to one line."""
    return f"question {_shorten(problem.question, MAX_QUESTION)!r}" if problem.question.strip() else problem.id


def reward_value(value: object) -> float | None:
    """Return the value as a float; None if it is no number that a reward may be."""
    with suppress(OverflowError):  # an integer may exceed the range of a float
        if isinstance(value, Real) and abs(float(value)) <= MAX_REWARD:
            return float(value)
    return None


def _describe(value: object) -> str:
    """Return the value as text, shortened. Python refuses to print integers of over 4,300 digits."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"an integer of {value.bit_length()} bits, too large for a float"
    return _shorten(repr(value))


def _shorten(value: object, limit: int = MAX_SHOWN) -> str:
    """Return text on one line, cut to `limit` characters."""
    text = " ".join(str(value)[: 4 * limit].split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


@lru_cache
def load(name: str, folder: Path | None) -> UserReward:
    """Import the function `package.module:function`. RewardError when that fails or its signature does not fit."""
    function = imported("reward", name, folder)
    if not callable(function):
        raise RewardError(f"reward {name} is of type {type(function).__name__}: must be a function of (completion)")
    return _of_completion(name, function)


def imported(kind: str, name: str, folder: Path | None) -> Any:
    """Import `package.module:attribute`, a reward or something else of the user's. RewardError when that fails."""
    module, _, attribute = name.partition(":")
    try:
        with heartbeat(f"importing {module} for the {kind} {name}"), importable(folder):
            return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # importing runs the user's module
        raise RewardError(f"{kind} {name}: {_import_failure(error, module, attribute)}") from error


def _import_failure(error: BaseException, module: str, attribute: str) -> str:
    """Return why a function could not be imported, and what to do."""
    if module.endswith(".py"):
        return f"{module} is a file: name the module, as {module.removesuffix('.py')}:{attribute}"
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
        return f"{error}. Put the module into the recipe's directory, install it, or add it to PYTHONPATH"
    loaded = sys.modules.get(module)
    if isinstance(error, AttributeError) and loaded is not None and not hasattr(loaded, attribute):
        close = nearest(attribute, [key for key, value in vars(loaded).items() if callable(value)])
        return f"{error}{f'; did you mean {module}:{close}?' if close else ''}"
    return f"importing {module} failed: {type(error).__name__}: {error}"


def _of_completion(name: str, function: Callable[..., float]) -> UserReward:
    """Return the function as one of a `RewardInput`, whichever of both signatures it has."""
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    arguments = (None,) if len(required) == 1 else (None, "")
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise RewardError(f"reward {name} cannot be called with (completion) or (problem, text): {error}") from error
    if len(required) == 1:
        return function
    return lambda completion: function(completion.problem, completion.text)


@contextmanager
def importable(folder: Path | None) -> Iterator[None]:
    """Make the modules of `folder` importable inside the context only."""
    before = list(sys.path)
    if folder is not None:
        sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before

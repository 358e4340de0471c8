"""Environments of the package `verifiers` (Prime Intellect): how they are loaded, and the problems they bring.

Requires `pip install 'r1kit[verifiers]'`. A name is that of an installed environment, or of a module with a function
`load_environment`, as `vf.load_environment` reads it. `environments/verifiers.py` runs their rollouts.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from typing import Any

from r1kit.data.problem_rows import NOT_UNICODE, is_unicode
from r1kit.data.store import DataError
from r1kit.errors import UserError, require
from r1kit.types import Problem

PREFIX = "verifiers:"
SPLITS = ("train", "held_out")


@lru_cache
def load_environment(name: str) -> Any:
    """Return an environment, a `vf.Environment`. It is loaded once in a process.

    Raises:
        UserError: The package is not installed, there is no such environment, or it cannot be trained on here.
    """
    verifiers = require("verifiers", extra="verifiers")
    if not hasattr(verifiers, "Environment") or not hasattr(verifiers, "load_environment"):
        version = getattr(verifiers, "__version__", "")
        raise UserError(f"verifiers {version} has no vf.Environment: run pip install 'r1kit[verifiers]'")
    try:
        with _signals_kept(), _no_progress_bars():
            made = verifiers.load_environment(name)
    except Exception as error:  # of the environment's code
        raise UserError(f"{PREFIX}{name} cannot be loaded: {error}") from error
    if not isinstance(made, verifiers.MultiTurnEnv | verifiers.EnvGroup):
        kind = type(made).__name__
        raise UserError(f"{PREFIX}{name} is of type {kind}: must be a vf.SingleTurnEnv, vf.MultiTurnEnv or vf.EnvGroup")
    return made


def tool_definitions(tools: Sequence[Any] | None) -> tuple[Mapping[str, Any], ...]:
    """Return tools of the package, `vf.Tool` or a mapping, as OpenAI's API has them."""
    return tuple(
        {"type": "function", "function": {key: tool[key] for key in ("name", "description", "parameters")}}
        for tool in tools or ()
    )


def verifiers_problems(name: str, split: str = "train", limit: int | None = None) -> list[Problem]:
    """Return the problems of an environment's dataset (split "train") or evaluation dataset ("held_out").

    Raises:
        DataError: There is no such split, or a row cannot be used.
        UserError: See `load_environment`.
    """
    if split not in SPLITS:
        raise DataError(f"{PREFIX}{name}: split = {split!r}: must be one of {', '.join(SPLITS)}")
    environment = load_environment(name)
    with _no_progress_bars():
        dataset = environment.build_dataset() if split == "train" else environment.build_eval_dataset()
    if dataset is None:
        raise DataError(
            f"{PREFIX}{name} has no problems for split = {split!r}: use the other one of {', '.join(SPLITS)}"
        )
    problems: dict[str, Problem] = {}
    for number, row in enumerate(dataset.to_list(), start=1):
        problem = _problem(name, environment, row, f"{PREFIX}{name}, {split}, row {number}")
        problems.setdefault(problem.id, problem)
        if len(problems) == limit:
            break
    return list(problems.values())


def _problem(name: str, environment: Any, row: Mapping[str, Any], where: str) -> Problem:
    try:
        content = json.dumps(row)
    except TypeError as error:
        raise DataError(f"{where}: {error}: rows must hold what JSON can hold") from None
    messages = plain_messages(row["prompt"], where)
    if not messages or messages[-1]["role"] != "user":
        raise DataError(f"{where}: the prompt must end with a message of the user")
    info = row.get("info")
    info = json.loads(info) if isinstance(info, str) and info else info or {}
    asked = {key: value for key, value in row.items() if key != "example_id"}  # the same in other orders and splits
    return Problem(
        id=sha256(f"{PREFIX}{name}\0{json.dumps(asked, sort_keys=True)}".encode()).hexdigest()[:16],
        question=messages[-1]["content"],
        answer=str(row.get("answer") or ""),
        verifier="environment",
        family=name,
        extra={"row": json.loads(content), "pass_threshold": float(getattr(environment, "pass_threshold", 0.5))},
        messages=messages,
        tools=tool_definitions(info.get("tool_defs") or environment.tool_defs),
    )


def plain_messages(messages: Sequence[Any], where: str) -> tuple[Mapping[str, Any], ...]:
    """Return messages of the package as role and text. DataError if one is not text alone."""
    return tuple({"role": message["role"], "content": plain_text(message["content"], where)} for message in messages)


def plain_text(content: object, where: str) -> str:
    """Return the text of a message. DataError for images and other parts."""
    if isinstance(content, list) and all(part["type"] == "text" for part in content):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise DataError(f"{where}: a message has content of type {type(content).__name__}: only text can be trained on")
    if not is_unicode(content):
        raise DataError(f"{where}: {NOT_UNICODE}")
    return content


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo what loading does to signals: the package's environments replace the handlers of ^C and SIGTERM."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Hide the progress bars of the package datasets, which environments show whenever they make a dataset."""
    bars = import_module("datasets.utils")
    if bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()

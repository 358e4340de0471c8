"""Check that the functions of a user's environment take the arguments that they are called with."""

from __future__ import annotations

import inspect

START, FUNCTION = ("problem", "seed"), ("problem", "turns")  # arguments of `Environment.start`, and of a function
EPISODE: dict[str, tuple[str, ...]] = {"step": ("text",), "score": (), "close": ()}  # functions of `Episode`


def misfit(function: object, name: str, arguments: tuple[str, ...]) -> str | None:
    """Return why a function cannot be called with these arguments by position; None if it can."""
    expected = f"{name}({', '.join(arguments)})"
    if not callable(function):
        return f"must have {expected}"
    try:
        signature = inspect.signature(function)
    except ValueError:  # of functions written in C
        return None
    try:
        signature.bind(*arguments)
    except TypeError:
        return f"has {name}{signature}: must be {expected}"
    return None


def misfit_of_episode(episode: object) -> str | None:
    """Return why what `Environment.start` returned is no episode; None if it is one."""
    texts = (misfit(getattr(episode, name, None), name, arguments) for name, arguments in EPISODE.items())
    return next(filter(None, texts), None)

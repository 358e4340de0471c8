"""The table of environments. To add one: a file that defines it, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from r1kit.data.verifiers import PREFIX
from r1kit.environments.base import Environment
from r1kit.environments.calculator import Calculator
from r1kit.environments.function import FunctionEnvironment
from r1kit.environments.guess import Guess
from r1kit.environments.signatures import EPISODE, FUNCTION, START, misfit, misfit_of_episode
from r1kit.environments.tools import Tools
from r1kit.environments.verifiers import VerifiersEnvironment
from r1kit.errors import UserError
from r1kit.rewards.custom import importable, imported
from r1kit.synonyms import nearest

ENGINE = 'episodes need engine = "native" or "vllm": a turn that a lost vLLM server was sampling would be lost'
ENVIRONMENTS: dict[str, Callable[[], Environment]] = {"calculator": Calculator, "guess": Guess, "tools": Tools}


def environment_named(name: str, folder: Path | None = None) -> Environment:
    """Return an environment.

    Args:
        name: A name of ENVIRONMENTS, `verifiers:NAME`, or `module:name` of a function, an environment, or its class.
        folder: The recipe's directory, from which modules can be imported too.

    Raises:
        UserError: There is none, or it is no environment.
    """
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]()
    if ":" not in name:
        close = nearest(name, ENVIRONMENTS)
        raise UserError(
            f"unknown environment {name!r}: {f'did you mean {close}? ' if close else ''}Use one of "
            f"{', '.join(ENVIRONMENTS)}, or name one of your own as module:name"
        )
    if name.startswith(PREFIX):
        with importable(folder):
            return VerifiersEnvironment(name.removeprefix(PREFIX))
    given = imported("environment", name, folder)
    try:
        made = given() if isinstance(given, type) else given
    except Exception as error:  # of the user's code
        raise UserError(f"environment {name} cannot be made: {type(error).__name__}: {error}") from error
    if not hasattr(made, "start"):
        if not callable(made):
            raise UserError(f"environment {name} is of type {type(made).__name__}: must have start, or be a function")
        wrong = misfit(made, name.partition(":")[2], FUNCTION)
        made = FunctionEnvironment(made)
    else:
        is_episode = all(hasattr(made, each) for each in EPISODE)  # start returns the environment itself
        wrong = misfit(made.start, "start", START) or (misfit_of_episode(made) if is_episode else None)
    if wrong is not None:
        raise UserError(f"environment {name} {wrong}")
    if missing := [attribute for attribute in ("stop", "max_turns") if not hasattr(made, attribute)]:
        raise UserError(f"environment {name} has no {' and no '.join(missing)}: see r1kit.environments.base")
    environment: Environment = made
    stop, max_turns = environment.stop, environment.max_turns
    if not isinstance(stop, list | tuple) or not all(isinstance(text, str) and text for text in stop):
        raise UserError(f"environment {name} has stop = {stop!r}: must be a tuple or list of texts, as ('</call>',)")
    if type(max_turns) is not int or max_turns < 1:
        raise UserError(f"environment {name} has max_turns = {max_turns!r}: must be an integer of at least 1")
    return environment

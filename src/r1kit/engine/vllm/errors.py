"""What can be wrong with weights that were pushed to vLLM. No torch: vLLM's own processes import this."""

from __future__ import annotations

from collections.abc import Iterable

from r1kit.errors import UserError


class PushError(UserError):
    """vLLM does not have the weights that were pushed to it. Nothing was sampled with them."""


class EmptyUpdate(PushError):
    """An update without any weight was sent."""


class PartialUpdate(PushError):
    """Some weights were not sent, or not loaded."""


class StaleWeights(PushError):
    """vLLM still has the previous weights, or another version than was pushed."""


class WrongWeights(PushError):
    """vLLM computes other log-probabilities than the learner."""


def named(error: PushError) -> PushError:
    """Return the error with its name in the message: of what is raised in a server, vLLM reports only the message."""
    return type(error)(f"{type(error).__name__}: {error}")


def check_names(sent: Iterable[str], expected: Iterable[str], where: str) -> None:
    """Raise EmptyUpdate or PartialUpdate if the names that were sent are not the expected ones."""
    sent, expected = set(sent), set(expected)
    if not sent:
        raise EmptyUpdate(f"{where}: the update has no weights; expected {len(expected)}")
    if missing := sorted(expected - sent):
        raise PartialUpdate(f"{where}: {len(missing)} of {len(expected)} weights are missing, such as {missing[0]}")
    if surplus := sorted(sent - expected):
        raise PartialUpdate(f"{where}: {len(surplus)} weights are not part of the model, such as {surplus[0]}")


def check_loaded(missing: Iterable[str], where: str) -> None:
    """Raise PartialUpdate if vLLM's model has parameters that it was given no weights for."""
    if names := sorted(missing):
        raise PartialUpdate(f"{where}: vLLM loaded no weights for {len(names)} parameters, such as {names[0]}")


def check_version(reported: str, pushed: str, where: str) -> None:
    """Raise StaleWeights if vLLM reports another version than was pushed."""
    if reported != pushed:
        raise StaleWeights(f"{where}: vLLM has weights of version {reported!r}; version {pushed!r} was pushed")

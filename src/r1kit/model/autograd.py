"""Types for `torch.autograd.Function`, which torch leaves without annotations."""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor
from torch.autograd import Function


class Context(Protocol):
    """The part of a function's context that our functions use."""

    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass."""


def apply(function: type[Function], *inputs: object) -> Tensor:
    """Run a custom function with a single output."""
    return cast(Tensor, function.apply(*inputs))  # type: ignore[no-untyped-call]  # torch leaves it untyped

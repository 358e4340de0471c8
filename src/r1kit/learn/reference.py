"""The reference model of the KL penalty: a frozen copy of the policy, or the frozen adapters of one.

With adapters, policy and reference share the weights that are not trained. New adapters add exactly zero, so the first
reference is the model without adapters.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from torch import Tensor, nn

from r1kit.learn.lora import has_adapters, trained_weights
from r1kit.learn.memory import moved
from r1kit.learn.precision import copy_weights
from r1kit.model.policy import Policy


class AdapterSnapshot(nn.ParameterList):
    """Frozen copies of a model's adapters, in the order of its parameters."""


def make_reference(policy: Policy, offload: bool = False) -> nn.Module:
    """Return the policy's present weights, or adapters, as a reference. `offload` keeps weights in main memory."""
    if has_adapters(policy):
        return AdapterSnapshot(p.detach().clone() for p in trained_weights(policy).values()).requires_grad_(False)
    reference = copy.deepcopy(policy).requires_grad_(False)
    return reference.cpu() if offload else reference


@contextmanager
def reference_model(reference: nn.Module, policy: Policy) -> Iterator[Policy]:
    """Yield the reference as a model. Until the block ends, the policy may not be used."""
    if isinstance(reference, AdapterSnapshot):
        _exchange(reference, policy)
        try:
            yield policy
        finally:
            _exchange(reference, policy)
    else:
        with moved(reference, policy.device):
            yield cast(Policy, reference)


def refresh_reference(reference: nn.Module, policy: Policy) -> None:
    """Make the policy's present weights the reference."""
    if isinstance(reference, AdapterSnapshot):
        for old, new in _pairs(reference, policy):
            old.data.copy_(new)
    else:
        copy_weights(policy, reference)


def _exchange(reference: AdapterSnapshot, policy: Policy) -> None:
    """Exchange the memory of both; nothing is copied."""
    for frozen, trained in _pairs(reference, policy):
        frozen.data, trained.data = trained.data, frozen.data


def _pairs(reference: AdapterSnapshot, policy: Policy) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(reference.parameters(), trained_weights(policy).values(), strict=True)

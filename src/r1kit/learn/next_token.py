"""Next-token loss on packed rows, for supervised training."""

from __future__ import annotations

from torch import Tensor

from r1kit.data.pack import PackedRow
from r1kit.learn.logprobs import token_logprobs
from r1kit.model.policy import Policy


def answer_loss(model: Policy, row: PackedRow) -> Tensor:
    """Return the summed negative log-probability of the row's answer tokens, in nats. The caller normalises.

    Packing changes nothing: the loss of a row is the sum of its documents' losses.
    """
    device = model.device
    hidden_TD = hidden_states(model, row)
    answers_ND, targets_N = hidden_TD[row.loss_mask_T.to(device)], row.targets.to(device)
    return -token_logprobs(answers_ND, model.head_weight, targets_N, fp32=model.fp32_head).sum()


def hidden_states(model: Policy, row: PackedRow) -> Tensor:
    """Return hidden states [T, D] after the last norm. No document attends to another."""
    return model.packed(row.tokens_T.to(model.device), row.positions_T.to(model.device), row.lengths)

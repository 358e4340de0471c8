"""Losses of reward models. Pure functions of scores; they return sums, and the caller normalises.

Shapes: N documents of a row, P pairs of them (N = 2 P: chosen, rejected, chosen, rejected, ...).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from r1kit.data.pack import PackedRow
from r1kit.learn.next_token import hidden_states
from r1kit.model.policy import RewardModel


def document_scores(model: RewardModel, row: PackedRow) -> Tensor:
    """Return the fp32 score [N] of every document in a packed row, read at its last token."""
    hidden_TD = hidden_states(model, row)
    last_N = torch.tensor(row.lengths, device=hidden_TD.device).cumsum(0) - 1
    return model.scores(hidden_TD, last_N)


def pair_margins(scores_N: Tensor) -> Tensor:
    """Return chosen minus rejected scores [P]."""
    chosen_P, rejected_P = torch.unflatten(scores_N, 0, (-1, 2)).unbind(1)
    return chosen_P - rejected_P


def label_margins(scores_N: Tensor, good_N: Tensor) -> Tensor:
    """Return how far each score [N] is on the right side of 0."""
    return scores_N.where(good_N, -scores_N)


def preference_loss(margins: Tensor) -> Tensor:
    """Return the sum of -log sigmoid(margin).

    For pairs this is the loss of Bradley and Terry (1952), used for the paper's helpful reward model. For labelled
    answers it is the cross-entropy of sigmoid(score) as the probability of "good", used for its safety reward model.
    """
    return -F.logsigmoid(margins).sum()

"""What reward models learn from. Pure functions of scores; sums, whose normaliser belongs to the caller.

Shapes: N documents of a row, P pairs of them (N = 2 P: chosen, rejected, chosen, rejected, ...).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from r1kit.data.pack import PackedRow
from r1kit.learn.next_token import hidden_states
from r1kit.model.heads import RewardModel


def document_scores(model: RewardModel, row: PackedRow) -> Tensor:
    """[N] in fp32: what every document of a packed row is worth, read at its last token."""
    hidden_TD = hidden_states(model, row)
    last_N = torch.tensor(row.lengths, device=hidden_TD.device).cumsum(0) - 1
    return model.scores(hidden_TD, last_N)


def pair_margins(scores_N: Tensor) -> Tensor:
    """[P] By how much the chosen answers win."""
    chosen_P, rejected_P = scores_N.unflatten(0, (-1, 2)).unbind(1)
    return chosen_P - rejected_P


def label_margins(scores_N: Tensor, good_N: Tensor) -> Tensor:
    """[N] How far scores are on the right side of 0."""
    return scores_N.where(good_N, -scores_N)


def preference_loss(margins: Tensor) -> Tensor:
    """-log sigmoid(margin), summed.

    Of pairs it is Bradley and Terry's (1952), the paper's helpful reward model's; of labelled answers the cross-entropy
    of sigmoid(score) as the chance of being good, its safety reward model's.
    """
    return -F.logsigmoid(margins).sum()

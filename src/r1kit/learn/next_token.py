"""Next-token loss on packed rows, for supervised training."""

from __future__ import annotations

from torch import Tensor

from r1kit.data.pack import PackedRow
from r1kit.learn.logprobs import token_logprobs
from r1kit.model.decoder import Decoder
from r1kit.model.packed import PackedAttention


def answer_loss(model: Decoder, row: PackedRow) -> Tensor:
    """Return the summed negative log-probability of the row's answer tokens, in nats. The caller normalises.

    Packing changes nothing: the loss of a row is the sum of its documents' losses.
    """
    device = model.embed.weight.device
    hidden_TD = hidden_states(model, row)
    answers_ND, targets_N = hidden_TD[row.loss_mask_T.to(device)], row.targets.to(device)
    return -token_logprobs(answers_ND, model.head_weight, targets_N, fp32=model.fp32_head).sum()


def hidden_states(model: Decoder, row: PackedRow) -> Tensor:
    """Return hidden states [T, D] after the last norm. No document attends to another."""
    device = model.embed.weight.device
    tokens, positions = row.tokens_T.to(device)[None], row.positions_T.to(device)[None]
    hidden_1TD: Tensor = model(tokens, positions, PackedAttention(row.lengths, device))
    return hidden_1TD[0]

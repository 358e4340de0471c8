"""The loss of supervised training: next tokens of answers, in packed rows. The normaliser belongs to the caller."""

from __future__ import annotations

from torch import Tensor

from r1kit.data.pack import PackedRow
from r1kit.learn.logprobs import token_logprobs
from r1kit.model.decoder import Decoder
from r1kit.model.packed import Documents


def answer_loss(model: Decoder, row: PackedRow) -> Tensor:
    """Sum of -log p over the row's answer tokens, in nats: a row of many documents adds up what each alone gives."""
    device = model.embed.weight.device
    hidden_TD = hidden_states(model, row)
    logp_N = token_logprobs(hidden_TD[row.learned_T.to(device)], model.head_weight, row.targets.to(device))
    return -logp_N.sum()


def hidden_states(model: Decoder, row: PackedRow) -> Tensor:
    """[T, D] after the last norm; no document of the row sees another."""
    device = model.embed.weight.device
    tokens, positions = row.tokens_T.to(device)[None], row.positions_T.to(device)[None]
    return model(tokens, positions, Documents(row.lengths, device))[0]

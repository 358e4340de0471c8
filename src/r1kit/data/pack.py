"""Sequence packing: put documents into rows without padding. Pure functions.

Shapes: T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Document:
    """The tokens of a prompt and its answer."""

    tokens: npt.NDArray[np.int32]
    prompt_length: int  # tokens before the answer; they have no loss
    read: npt.NDArray[np.bool_] | None = None  # True on tokens of an episode that an environment wrote: no loss either

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Documents one after another. Attention must stay within each: `model.packed.PackedAttention`."""

    tokens_T: Tensor  # int64
    positions_T: Tensor  # 0, 1, 2, ... in every document
    loss_mask_T: Tensor  # True where the next token belongs to the same document's answer
    lengths: tuple[int, ...]  # of the documents, in order

    @property
    def count(self) -> int:
        """The number of tokens with a loss."""
        return int(self.loss_mask_T.sum())

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return len(self.tokens_T)

    @property
    def targets(self) -> Tensor:
        """The tokens to predict, one for each True in `loss_mask_T`."""
        return self.tokens_T.roll(-1)[self.loss_mask_T]


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Pack lengths into rows by first-fit decreasing: longest first, each into the first row with room.

    Returns the indices in each row. A row exceeds `capacity` only where a single length does.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((r for r, left in enumerate(room) if lengths[i] <= left), None)
        if row is None:
            rows.append([i])
            room.append(capacity - lengths[i])
        else:
            rows[row].append(i)
            room[row] -= lengths[i]
    return rows


def pack(documents: Sequence[Document]) -> PackedRow:
    """Return one row of the documents in the given order."""
    tokens = np.concatenate([document.tokens for document in documents]).astype(np.int64)
    positions = np.concatenate([np.arange(len(document)) for document in documents])
    loss_mask = np.concatenate([_predicts_answer(document) for document in documents])
    lengths = tuple(map(len, documents))
    return PackedRow(torch.from_numpy(tokens), torch.from_numpy(positions), torch.from_numpy(loss_mask), lengths)


def _predicts_answer(document: Document) -> npt.NDArray[np.bool_]:
    """Return True where token t + 1 is an answer token: from the prompt's last token to the last but one."""
    next_token = np.arange(1, len(document) + 1)
    predicts = (next_token >= document.prompt_length) & (next_token < len(document))
    if document.read is not None:
        predicts[:-1] &= ~document.read[1:]
    return predicts

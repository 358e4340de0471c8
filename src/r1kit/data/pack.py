"""Documents into rows without padding: which go together, and the row they make. Pure functions.

Shapes: T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Document:
    """The tokens of a prompt and its answer."""

    tokens: np.ndarray  # int32
    prompt_length: int  # the tokens before the answer: read, not learned

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Documents one after another; attention must keep each to itself (`model.packed.Documents`)."""

    tokens_T: Tensor  # int64
    positions_T: Tensor  # 0, 1, 2, ... anew in every document
    learned_T: Tensor  # True where the next token belongs to the same document's answer
    lengths: tuple[int, ...]  # of the documents, in order

    @property
    def count(self) -> int:
        """Tokens that are learned."""
        return int(self.learned_T.sum())

    @property
    def tokens(self) -> int:
        return len(self.tokens_T)

    @property
    def targets(self) -> Tensor:
        """The tokens to predict, one for each True in `learned_T`."""
        return self.tokens_T.roll(-1)[self.learned_T]


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indices by row: longest first, each into the first row with room (first-fit decreasing).

    No row's lengths sum to more than `capacity`, unless a single one does.
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
    """One row of the documents in the given order."""
    tokens = np.concatenate([document.tokens for document in documents]).astype(np.int64)
    positions = np.concatenate([np.arange(len(document)) for document in documents])
    # Token t is asked for token t + 1: from the prompt's last to the last but one.
    learned = np.concatenate([_asked(document) for document in documents])
    lengths = tuple(map(len, documents))
    return PackedRow(torch.from_numpy(tokens), torch.from_numpy(positions), torch.from_numpy(learned), lengths)


def _asked(document: Document) -> np.ndarray:
    next_token = np.arange(1, len(document) + 1)
    return (next_token >= document.prompt_length) & (next_token < len(document))

"""How the sequences of a step are dealt over ranks."""

from __future__ import annotations

import pytest
import torch

from r1kit.learn.batch import make_batch, prompt_blocks, rows_of_rank
from r1kit.learn.world import World
from r1kit.types import Completion, TrainBatch

G = 3


def batch_of(*lengths: tuple[int, int, int], advantages: list[float] | None = None) -> TrainBatch:
    """Groups of three completions with these lengths; the tokens count down, so equal lengths are equal completions."""
    groups = [
        [Completion("p", i, tuple(range(n, 0, -1)), (0.0,) * n, "", "stop") for i, n in enumerate(group)]
        for group in lengths
    ]
    values = torch.tensor(advantages or [1.0] * len(groups))[:, None].expand(-1, G).clone()
    return make_batch([[1, 2]] * len(groups), groups, values, temperature=1.0, mask_truncated=False)


def dealt(batch: TrainBatch, ranks: int, skip: bool = False) -> list[list[int]]:
    return [rows_of_rank(batch, skip, World(rank, ranks)).nonzero().flatten().tolist() for rank in range(ranks)]


def test_groups_stay_together_where_there_are_enough() -> None:
    batch = batch_of((9, 8, 7), (1, 2, 3), (4, 5, 6), (2, 1, 1))
    assert dealt(batch, 2) == [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9, 10, 11]]
    assert dealt(batch, 1) == [list(range(12))]


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_few_groups_are_dealt_by_sequences_that_differ(ranks: int) -> None:
    shares = dealt(batch_of((5, 9, 5)), ranks)
    assert sorted(row for share in shares for row in share) == [0, 1], "row 2 is computed with row 0"
    assert [len(share) for share in shares] == [1, 1, 0, 0][:ranks]


def test_groups_without_variance_are_no_work() -> None:
    batch = batch_of((9, 9, 9), (1, 2, 3), (4, 5, 6), advantages=[0.0, 1.0, 1.0])
    shares = dealt(batch, 2, skip=True)
    assert sorted(shares) == [[3, 4, 5], [6, 7, 8]]
    assert sorted(map(len, dealt(batch, 2))) == [3, 6]


def test_a_rank_without_work_computes_no_prompt() -> None:
    batch = batch_of((5, 9, 5))
    blocks = [[*prompt_blocks(batch, 64, False, rows_of_rank(batch, False, World(rank, 4)))] for rank in range(4)]
    assert [len(each) for each in blocks] == [1, 1, 0, 0]

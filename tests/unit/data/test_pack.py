"""Sequence packing: rows are well filled, and loss and gradient equal those of single documents."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r1kit.data.pack import Document, first_fit, pack
from r1kit.learn.next_token import answer_loss
from r1kit.model.attention import causal_attention
from r1kit.model.packed import MIN_FILL, PackedAttention, similar_lengths


def document(length: int, prompt_length: int, seed: int = 0) -> Document:
    tokens = np.random.default_rng([length, seed]).integers(0, 300, length, dtype=np.int32)
    return Document(tokens, prompt_length)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 60))
def test_first_fit_places_every_index_once_and_no_two_rows_could_be_merged(lengths: list, capacity: int) -> None:
    rows = first_fit(lengths, capacity)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    sums = [sum(lengths[i] for i in row) for row in rows]
    assert all(total <= capacity or len(row) == 1 for total, row in zip(sums, rows, strict=True))
    assert all(a + b > capacity for k, a in enumerate(sums) for b in sums[:k])


def test_packed_row_has_positions_and_loss_mask() -> None:
    row = pack([document(4, 2), document(3, 1, seed=1)])
    assert row.positions_T.tolist() == [0, 1, 2, 3, 0, 1, 2] and row.lengths == (4, 3)
    assert row.loss_mask_T.tolist() == [False, True, True, False, True, True, False]
    assert row.targets.tolist() == row.tokens_T[[2, 3, 5, 6]].tolist()
    assert (row.count, row.tokens) == (4, 7)


@settings(deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=30))
def test_documents_in_one_attention_batch_have_similar_lengths(lengths: list) -> None:
    groups = similar_lengths(lengths)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        inside = [lengths[i] for i in group]
        assert inside == sorted(inside, reverse=True) and inside[-1] >= MIN_FILL * inside[0]


@pytest.mark.parametrize("lengths", [(5, 9, 1, 6, 14), (7,), (4, 4, 4), (8, 3, 8)])
def test_packed_attention_equals_attention_per_document(lengths: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, sum(lengths), 8, generator=generator) for heads in (4, 2, 2))
    packed = PackedAttention(lengths, "cpu")(0, q, k, v)
    alone = [causal_attention(0, *qkv) for qkv in zip(*(x.split(lengths, dim=2) for x in (q, k, v)), strict=True)]
    torch.testing.assert_close(packed, torch.cat(alone, dim=2), rtol=0, atol=1e-6)


def test_packing_does_not_change_loss_and_gradient(make_decoder) -> None:
    model = make_decoder().double()
    documents = [document(length, length // 3, seed) for seed, length in enumerate((12, 40, 7, 2, 31, 8, 21))]

    def learn(rows: list) -> tuple[float, list[torch.Tensor]]:
        model.zero_grad()
        loss = sum(answer_loss(model, row) for row in rows)
        loss.backward()
        return loss.item(), [p.grad.clone() for p in model.parameters()]

    alone, gradients = learn([pack([each]) for each in documents])
    for capacity in (50, 1000):
        rows = first_fit([len(each) for each in documents], capacity)
        loss, actual = learn([pack([documents[i] for i in row]) for row in rows])
        assert loss == pytest.approx(alone, rel=1e-6)
        for ours, theirs in zip(actual, gradients, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))
    assert max(float(g.abs().max()) for g in gradients) > 0


def test_loss_counts_answer_tokens_only(make_decoder) -> None:
    model, one = make_decoder(), document(9, 4)
    tokens = torch.from_numpy(one.tokens).long()
    logp = model.logits(model(tokens[None]))[0].detach().log_softmax(-1)
    expected = -sum(float(logp[t - 1, tokens[t]]) for t in range(4, 9))
    assert answer_loss(model, pack([one])).item() == pytest.approx(expected, rel=1e-5)


def test_documents_do_not_attend_to_each_other(make_decoder) -> None:
    model, kept = make_decoder(), document(10, 3)
    losses = {answer_loss(model, pack([kept, document(10, 10, seed=s)])).item() for s in (1, 2, 3)}
    assert len(losses) == 1


def test_recomputed_activations_give_bit_identical_gradients(make_decoder) -> None:
    model, row = make_decoder(), pack([document(12, 4), document(30, 9, seed=1)])
    gradients = []
    for model.recompute in (False, True):
        model.zero_grad()
        answer_loss(model, row).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))

"""The memory of the KV cache: for kernels, which leave room behind a row's tokens, and for products, which do not."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
import torch
from torch import Tensor

from r1kit.engine import cache as module
from r1kit.engine.cache import ALIGN, KVCache

LAYERS, HEADS, WIDTH = 2, 2, 4


@pytest.fixture(autouse=True)
def nothing_is_read_before_it_is_written(monkeypatch):
    """Fill memory with NaN, which any product or comparison shows."""
    new = module._uninitialized
    monkeypatch.setattr(module, "_uninitialized", lambda shape, dtype: new(shape, dtype).fill_(torch.nan))


def make(lengths: list[int], rng: Random, reads_capacity: bool, most: int | None = None) -> KVCache:
    """Return a cache with random prompts of these lengths, in the rows' own memory."""
    width = module.round_up(max(lengths), ALIGN)
    generator = torch.Generator().manual_seed(rng.randrange(100))
    keys, values = (
        [torch.randn(len(lengths), HEADS, width, WIDTH, generator=generator) for _ in range(LAYERS)] for _ in range(2)
    )
    starts_N = torch.tensor(lengths)
    return KVCache([], keys, values, starts_N, width, torch.zeros_like(starts_N), 0, most, reads_capacity)


def step(cache: KVCache, rng: Random) -> None:
    """Store a random token in every row, as a decode step does."""
    cache.begin_step()
    generator = torch.Generator().manual_seed(rng.randrange(100))
    for own in (*cache.own_k, *cache.own_v):
        own[cache.rows, :, cache.places_N] = torch.randn(len(cache), HEADS, WIDTH, generator=generator)
    cache.end_step()


def held(cache: KVCache) -> list[list[Tensor]]:
    """Return the prompt and the sampled tokens of every row, in all layers."""
    rows = []
    for n, (prompt, sampled) in enumerate(zip(cache.starts_N.tolist(), cache.lengths_N.tolist(), strict=True)):
        places = torch.tensor([*range(prompt), *range(cache.sampled_from, cache.sampled_from + sampled)])
        rows.append([own[n][:, places] for own in (*cache.own_k, *cache.own_v)])
    return rows


def change(cache: KVCache, rng: Random, most: int | None) -> None:
    """Do one of the things that a batch does with a cache."""
    rows = len(cache)
    match rng.choice(["step", "step", "select", "copy", "extend"]):
        case "step":
            step(cache, rng)
        case "select":
            chosen = torch.tensor(sorted(rng.choices(range(rows), k=rng.randint(1, 2 * rows))))
            cache.select(chosen, max_rows=rng.choice([0, 9]))
        case "copy":
            taken = torch.tensor([rng.randrange(rows)])
            cache.copy(taken, torch.tensor([rows]), max_rows=rows + rng.randrange(1, 4))
        case "extend":
            other = make([rng.randint(1, ALIGN) for _ in range(3)], rng, cache.reads_capacity, most)
            for _ in range(rng.randrange(20)):
                step(other, rng)
            cache.extend(other)


@pytest.mark.parametrize("most", [None, 2 * ALIGN, 40 * ALIGN])
@pytest.mark.parametrize("free", [0, 2**40])
@pytest.mark.parametrize("seed", range(5))
def test_rows_keep_their_tokens(seed, free, most, monkeypatch):
    monkeypatch.setattr(module, "allocatable_memory", lambda: free)
    ours, expected = Random(seed), Random(seed)
    cache, dense = make([3, 16, 9], ours, False, most), make([3, 16, 9], expected, True)
    for _ in range(60):
        change(cache, ours, most)
        change(dense, expected, None)
        assert len(cache) == len(dense)
        for a, b in zip(held(cache), held(dense), strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        used = dense.row_tokens(0)
        assert all(bool(own[: len(dense), :, :used].isfinite().all()) for own in dense.own_k)
        if len(cache) > 40:
            for each in (cache, dense):
                each.select(torch.arange(3))


def test_rows_that_come_one_by_one_do_not_ask_for_more_tokens():
    rng = Random(0)
    cache = make([9], rng, False)
    step(cache, rng)
    for _ in range(20):
        cache.extend(make([9], rng, False))
        assert cache.own_k[0].shape[2] <= 2 * cache.row_tokens(1)


@pytest.mark.parametrize(("free", "copies"), [(2**40, 1), (0, 3)])
def test_memory_is_asked_for_once_where_it_can_be(free, copies, monkeypatch):
    monkeypatch.setattr(module, "allocatable_memory", lambda: free)
    rng, most = Random(0), 16 * ALIGN
    cache = make([9], rng, False, most)
    places = []
    for _ in range(most - ALIGN):
        step(cache, rng)
        places.append(cache.own_k[0].data_ptr())
    assert cache.own_k[0].shape[2] == most
    assert sum(a != b for a, b in pairwise(places)) == copies - 1

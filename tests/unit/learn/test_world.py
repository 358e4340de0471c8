"""How work is dealt over processes; `tests/distributed` runs several of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.errors import UserError
from r1kit.interrupt import StepAbandoned
from r1kit.learn.world import ALONE, LostRank, World, lost_ranks_named, require_gpus, shares

COSTS = st.lists(st.integers(0, 50), max_size=20)


@given(COSTS, st.integers(1, 6))
def test_every_piece_of_work_is_done_once(costs: list[int], size: int) -> None:
    dealt = shares(costs, size)
    assert sorted(index for share in dealt for index in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in dealt)


@given(COSTS, st.integers(1, 6))
def test_no_rank_is_idle_while_another_has_two_pieces(costs: list[int], size: int) -> None:
    sizes = [len(share) for share in shares(costs, size)]
    assert min(sizes) > 0 or max(sizes) <= 1


@given(COSTS, st.integers(1, 6))
def test_ranks_finish_at_about_the_same_time(costs: list[int], size: int) -> None:
    sums = [sum(costs[index] for index in share) for share in shares(costs, size)]
    assert max(sums) - min(sums) <= max(costs, default=0)


def test_long_work_goes_first() -> None:
    assert shares([1, 9, 1, 8, 1], 2) == [[1, 2], [0, 3, 4]]
    assert World(1, 2).share([1, 9, 1, 8, 1]) == [0, 3, 4]


def test_one_process_agrees_with_itself() -> None:
    assert ALONE.gather("x") == ["x"] and ALONE.from_first(lambda: 3) == 3
    assert ALONE.any(True) and not ALONE.any(False)
    assert ALONE.share([5, 1]) == [0, 1]
    with ALONE.first_before_others():
        pass


def test_abandoned_work_is_reported_after_the_block() -> None:
    with pytest.raises(StepAbandoned), ALONE.abandonable():
        raise StepAbandoned
    with pytest.raises(KeyError), ALONE.abandonable():
        raise KeyError


@pytest.mark.parametrize(
    "message", ["[gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:2233", "Broken pipe"]
)
def test_a_lost_connection_is_named(message: str) -> None:
    with pytest.raises(LostRank, match="last checkpoint"), lost_ranks_named():
        raise RuntimeError(message)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), lost_ranks_named():
        raise RuntimeError("shapes differ")


def test_processes_do_not_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    require_gpus("cpu")
    with pytest.raises(UserError, match=r"4 processes on a machine with 2 GPUs: .*set processes = 2"):
        require_gpus("cuda")

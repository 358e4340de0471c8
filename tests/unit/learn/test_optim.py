"""AdamW, schedules and clipping against worked examples; the two copies of mixed precision."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from r1kit.config import Optimizer
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.learn.precision import compute_copy, copy_weights


def rates(steps: int, **changes) -> list[float]:
    config = Optimizer(learning_rate=1.0, **changes)
    return [learning_rate(config, step, steps) for step in range(steps)]


def test_schedules_match_worked_examples():
    assert rates(4) == [1, 1, 1, 1]
    assert rates(4, lr_scheduler_type="linear", min_lr_ratio=0.2) == pytest.approx([1, 0.8, 0.6, 0.4])
    warm = rates(6, lr_scheduler_type="linear", min_lr_ratio=0, warmup_steps=2)
    assert warm == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])
    assert rates(4, lr_scheduler_type="cosine", min_lr_ratio=0.5) == pytest.approx(
        [1, 0.75 + 0.25 * math.sqrt(0.5), 0.75, 0.75 - 0.25 * math.sqrt(0.5)]
    )
    assert rates(4, warmup_steps=4) == [0.25, 0.5, 0.75, 1]
    assert rates(3, warmup_steps=8) == [1 / 8, 2 / 8, 3 / 8]


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
def test_schedules_warm_up_then_decay_to_min_lr_ratio(kind):
    values = rates(300, lr_scheduler_type=kind, min_lr_ratio=0.1, warmup_steps=30)
    assert values[:30] == sorted(values[:30]) and values[29] == values[30] == 1
    assert values[30:] == sorted(values[30:], reverse=True) and values[-1] >= 0.1
    assert values[-1] < 0.11 or kind == "constant"


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix, self.gain = nn.Parameter(torch.full((1, 2), 2.0)), nn.Parameter(torch.ones(1))


def test_first_update_matches_worked_example():
    model = Tiny()
    config = Optimizer(learning_rate=9.0, weight_decay=0.5, adam_beta1=0.9, adam_beta2=0.99)
    optimizer = make_optimizer(model, config)
    model.matrix.grad, model.gain.grad = torch.tensor([[3.0, 0.0]]), torch.tensor([4.0])
    norm = update(model, optimizer, rate=0.1, max_grad_norm=1.0)
    assert norm == pytest.approx(5)  # sqrt(9 + 16), before clipping
    # Adam's first update is the rate times the sign of the gradient. Matrices decay by rate * 0.5, gains do not.
    torch.testing.assert_close(model.matrix.detach(), torch.tensor([[2 * 0.95 - 0.1, 2 * 0.95]]))
    torch.testing.assert_close(model.gain.detach(), torch.tensor([0.9]))
    assert model.matrix.grad is None and model.gain.grad is None
    first_moment = optimizer.state[model.gain]["exp_avg"]  # (1 - beta1) * 4 / 5: the clipped gradient
    torch.testing.assert_close(first_moment, torch.tensor([0.1 * 0.8]), rtol=1e-4, atol=0)
    second_moment = optimizer.state[model.gain]["exp_avg_sq"]
    torch.testing.assert_close(second_moment, torch.tensor([0.01 * 0.64]), rtol=1e-4, atol=0)


def test_small_gradients_are_not_clipped():
    model = Tiny()
    optimizer = make_optimizer(model, Optimizer())
    model.matrix.grad, model.gain.grad = torch.tensor([[0.3, 0.0]]), torch.tensor([0.4])
    assert update(model, optimizer, rate=0.1, max_grad_norm=1.0) == pytest.approx(0.5)
    torch.testing.assert_close(optimizer.state[model.gain]["exp_avg"], torch.tensor([0.04]))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_non_finite_gradients_are_dropped(poison):
    model = torch.nn.Linear(3, 2)
    optimizer = make_optimizer(model, Optimizer())
    for value in (1.0, poison):
        before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        for p in model.parameters():
            p.grad = torch.full_like(p, value)
        assert math.isfinite(update(model, optimizer, 1e-3 * value, 1.0)) == (value == 1)
    torch.testing.assert_close((model.state_dict(), optimizer.state_dict()), before, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())


def test_compute_copy_sends_gradients_to_fp32_master():
    master = nn.Linear(1, 1, bias=False)
    assert compute_copy(master, torch.float32) is master
    copied = compute_copy(master, torch.bfloat16)
    for x in (256.0, 1.0):  # in bfloat16, 256 + 1 is 256
        copied(torch.tensor([x], dtype=torch.bfloat16)).backward()
    assert copied.weight.grad is None and master.weight.grad.item() == 257
    master.weight.data.fill_(1 / 3)
    copy_weights(master, copied)
    assert copied.weight.item() == torch.tensor(1 / 3).bfloat16().item() and master.weight.dtype == torch.float32

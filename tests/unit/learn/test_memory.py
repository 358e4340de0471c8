"""Means to train in less memory change no gradient: recomputation and offloading. 8-bit moments change it little."""

from __future__ import annotations

import sys
from contextlib import suppress

import pytest
import torch
from learner_batches import CAP, gradient, random_batch, relative_error
from tiny_learner import all_equal, restore, save

from r1kit.config import RL
from r1kit.errors import UserError
from r1kit.learn import learner as learner_module
from r1kit.learn.memory import configure, moved, offloads
from r1kit.learn.optim import make_optimizer

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def saved_bytes(made, batch) -> int:
    """Bytes that the forward passes keep for backward passes, by storage."""
    saved: dict[int, int] = {}

    def remember(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        made.backward(batch, CAP)
    return sum(saved.values())


@pytest.mark.parametrize("template", [0, 300])  # 300 common tokens are a pass of their own
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recomputed_activations_give_the_same_gradient(learner, dtype, template):
    made = learner(micro_batch_tokens=100)
    batch = random_batch(made.model, template=template)
    made.model.to(dtype), made.reference.to(dtype)
    expected_sums, expected = gradient(made, batch)
    made.model.recompute = True
    sums, actual = gradient(made, batch)
    assert sums == expected_sums and relative_error(actual, expected) == 0


def test_recomputing_keeps_less_for_the_backward_pass(learner):
    made = learner(micro_batch_tokens=1000)
    batch = random_batch(made.model)
    everything = saved_bytes(made, batch)
    made.model.recompute = True
    assert saved_bytes(made, batch) < everything / 3


def test_recompute_is_chosen_by_size_unless_the_recipe_says(make_decoder):
    model = make_decoder(0)
    chosen = []
    for recompute, tokens in (("auto", 10), ("auto", 10**9), ("on", 10), ("off", 10**9)):
        rl = RL(kind="rl", model="m", prompts=["world:arithmetic"], recompute=recompute, fp32_head=False)
        configure(model, rl, tokens, torch.bfloat16)
        chosen.append(model.recompute)
    assert chosen == [False, True, True, False] and not model.fp32_head


@pytest.fixture
def offloading(learner, monkeypatch):
    """Make learners that offload although a CPU has nothing to offload to."""
    monkeypatch.setattr(learner_module, "offloads", lambda config, device: True)
    return learner


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_offloading_changes_neither_gradient_nor_update(learner, dtype, monkeypatch):
    results = []
    for offload in (False, True):
        monkeypatch.setattr(learner_module, "offloads", lambda config, device, offload=offload: offload)
        made = learner(learning_rate=1e-2, ref_refresh_steps=2, micro_batch_tokens=100)
        batch = random_batch(made.model)
        rows = [made.step(batch, step) for step in range(3)]
        assert offload == (made.master is not made.model)
        results.append((rows, [p.detach().clone() for p in (*made.model.parameters(), *made.reference.parameters())]))
    assert results[0][0] == results[1][0] and all_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def test_moved_weights_are_back_afterwards_also_after_an_error(make_decoder, device):
    model = make_decoder(0)
    tensors = [x.detach() for x in (*model.parameters(), *model.buffers())]
    with suppress(ValueError), moved(model, device):
        assert {x.device.type for x in (*model.parameters(), *model.buffers())} == {device}
        raise ValueError
    assert {x.device.type for x in (*model.parameters(), *model.buffers())} == {"cpu"}
    assert all_equal([x.detach() for x in (*model.parameters(), *model.buffers())], tensors)


def test_offloading_does_nothing_on_a_cpu():
    rl = RL(kind="rl", model="m", prompts=["world:arithmetic"], offload=True)
    assert not offloads(rl, "cpu") and offloads(rl, "cuda")


def test_offloaded_training_resumes_bit_exactly(tmp_path, offloading):
    _resumes_exactly(tmp_path, lambda: offloading(learning_rate=1e-2, ref_refresh_steps=2))


def test_8bit_moments_follow_adamw_and_resume_bit_exactly(tmp_path, learner):
    pytest.importorskip("bitsandbytes")
    exact, low = (learner(learning_rate=1e-3, adam_8bit=low) for low in (False, True))
    start = [p.detach().clone() for p in low.model.parameters()]
    batch = random_batch(exact.model)
    for step in range(5):
        exact.step(batch, step), low.step(batch, step)
    moved = [(p - s).flatten() for p, s in zip(exact.model.parameters(), start, strict=True)]
    moved_low = [(p - s).flatten() for p, s in zip(low.model.parameters(), start, strict=True)]
    assert torch.cosine_similarity(torch.cat(moved), torch.cat(moved_low), dim=0) > 0.99
    states = [low.optimizer.state[p] for p in low.model.parameters()]
    assert {state["state1"].dtype for state in states} == {torch.uint8, torch.float32}
    _resumes_exactly(tmp_path, lambda: learner(learning_rate=1e-2, adam_8bit=True))


def test_8bit_moments_name_the_extra(make_decoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    rl = RL(kind="rl", model="m", prompts=["world:arithmetic"], adam_8bit=True)
    with pytest.raises(UserError, match=r"run pip install 'r1kit\[8bit\]'"):
        make_optimizer(make_decoder(0), rl)


def _resumes_exactly(directory, make) -> None:
    """Train 3 steps, save, train 2 more; the same 2 steps from the checkpoint give the same weights and metrics."""
    made = make()
    batch = random_batch(made.model)
    for step in range(3):
        made.step(batch, step)
    save(made, {"step": 3}, directory)
    expected = [made.step(batch, step) for step in (3, 4)]
    fresh = make()
    with torch.no_grad():
        for weight in fresh.master.parameters():
            weight.add_(1.0)  # everything must come from the checkpoint
    assert restore(fresh, directory) == {"step": 3}
    assert [fresh.step(batch, step) for step in (3, 4)] == expected
    assert all_equal([p.detach() for p in fresh.model.parameters()], [p.detach() for p in made.model.parameters()])

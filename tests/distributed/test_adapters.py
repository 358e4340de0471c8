"""Every rank updates all adapters with the gradient of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from learner_batches import config, random_batch
from ranks import on_ranks

from r1kit.learn.checkpoint import Checkpoints
from r1kit.learn.learner import Learner
from r1kit.learn.lora import add_adapters, trained_weights
from r1kit.learn.world import ALONE, World
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder

pytest.importorskip("peft")


def learner(world: World) -> Learner:
    shape = dict(model_type="qwen2", vocab_size=67, hidden_size=32, intermediate_size=45, eos_token_ids=(0,))
    model = Decoder(ModelConfig(**shape, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8))
    model.init_weights(0)
    add_adapters(model, rank=4, alpha=8.0, seed=1)
    return Learner(model, config(learning_rate=1e-2, ref_refresh_steps=2), world)


def same(world: World, folder: str) -> None:
    """Metrics and adapters of four updates, of which the last one follows a restart from a checkpoint of all ranks."""
    alone, together = learner(ALONE), learner(world)
    before = [weight.detach().clone() for weight in trained_weights(alone.model).values()]
    batch = random_batch(alone.model)
    for step in range(3):
        assert together.step(batch, step) == pytest.approx(alone.step(batch, step), rel=1e-3, abs=1e-5)
    with Checkpoints(Path(folder), world=world) as store:
        store.save(together, {"step": 3})
    together = learner(world)
    with Checkpoints(Path(folder), world=world) as store:
        assert store.restore(together) == {"step": 3}
    assert together.step(batch, 3) == pytest.approx(alone.step(batch, 3), rel=1e-3, abs=1e-5)
    expected, found = (trained_weights(each.model).values() for each in (alone, together))
    for weight, other, start in zip(expected, found, before, strict=True):
        assert not torch.equal(weight, start)
        torch.testing.assert_close(other, weight, rtol=0, atol=1e-4)


def test_two_ranks_train_the_adapters_of_one_process(tmp_path: Path) -> None:
    on_ranks(2, same, str(tmp_path))

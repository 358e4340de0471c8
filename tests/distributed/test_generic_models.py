"""Several ranks train models that transformers computes, with complete weights on each rank and with shares of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from learner_batches import CAP, config, random_batch
from ranks import on_ranks
from tiny_families import write_family

from r1kit.config import SFT
from r1kit.data.pack import Document, PackedRow, pack
from r1kit.learn.learner import Learner
from r1kit.learn.next_token import answer_loss
from r1kit.learn.sharded import flush, whole
from r1kit.learn.world import ALONE, World
from r1kit.model.hf import load_model
from r1kit.stages.context import StageContext
from r1kit.stages.train_loop import Schedule, train

FAMILIES = ["deepseek_v3", "gemma3"]  # experts and latent attention; tied embeddings and sliding windows


def packed_rows(vocabulary: int) -> list[PackedRow]:
    """Three rows for two ranks, of documents that are not similarly long."""
    generator = torch.Generator().manual_seed(2)
    tokens = [torch.randint(3, vocabulary, (n,), generator=generator).tolist() for n in (21, 5, 9, 30, 4, 4)]
    documents = [Document(ids, len(ids) // 3) for ids in tokens]
    return [pack(documents[i : i + 2]) for i in (0, 2, 4)]


def supervised(directory: Path, folder: Path, world: World, **changes: object) -> list[torch.Tensor]:
    """The weights after two updates."""
    model = load_model(directory, torch.float32, "cpu")
    rows = packed_rows(model.config.vocab_size)
    settings = SFT(kind="sft", model="m", data=["d"], learning_rate=1e-2, **changes)
    context = StageContext("s", folder, 0, "float32", "cpu", 1, {}, world=world)

    def source(done: int) -> Iterator[list[PackedRow]]:
        while True:
            yield rows

    train(model, settings, context, Schedule(2, 1, 100), source, answer_loss)
    return [weight.detach() for weight in model.parameters()]


def check(world: World, directory: str, folder: str) -> None:
    path = Path(directory)
    alone = Learner(load_model(path, torch.float32, "cpu"), config())
    batch = random_batch(alone.model)
    alone.backward(batch, CAP)
    expected = [weight.grad for weight in alone.model.parameters()]
    scale = max(float(gradient.abs().max()) for gradient in expected if gradient is not None)
    trained = supervised(path, Path(folder) / f"alone{world.rank}", ALONE)
    assert not any(torch.equal(weight, new) for weight, new in zip(alone.model.parameters(), trained, strict=True))
    for shard_weights in (False, True):
        together = Learner(load_model(path, torch.float32, "cpu"), config(shard_weights=shard_weights), world)
        together.backward(batch, CAP)
        flush(together.model, together.master, world)
        for weight, gradient in zip(together.master.parameters(), expected, strict=True):
            torch.testing.assert_close(whole(weight.grad), gradient, rtol=0, atol=1e-4 * scale)
        shared = supervised(path, Path(folder) / str(shard_weights), world, shard_weights=shard_weights)
        for found, weight in zip(shared, trained, strict=True):
            torch.testing.assert_close(found, weight, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_and_supervised_updates_are_those_of_one_process(family: str, tokenizer, tmp_path: Path) -> None:
    write_family(family, tokenizer, tmp_path / "model")
    on_ranks(2, check, str(tmp_path / "model"), str(tmp_path))

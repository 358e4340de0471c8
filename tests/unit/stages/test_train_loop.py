"""The training loop of the stages without rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from r1kit.config import SFT, Training
from r1kit.metrics.log import read_metrics
from r1kit.stages.context import StageContext
from r1kit.stages.train_loop import Schedule, train

EVERY_STEP = Schedule(steps=8, log_every=1, save_every=100)


@dataclass(frozen=True)
class Numbers:
    """A micro-batch of numbers, whose mean a model of one weight learns."""

    values: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def tokens(self) -> int:
        return 2 * len(self.values)


def loss(model: nn.Linear, batch: Numbers) -> Tensor:
    return sum((model.weight.squeeze() - value) ** 2 for value in batch.values)


def trained(
    directory: Path, batches: list[Numbers], schedule: Schedule = EVERY_STEP, learning_rate: float = 0.1
) -> tuple[float, dict[str, float], list[dict]]:
    """Train on the same micro-batches in every step. Return the weight, the last evaluation and the metrics."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    def source(done: int) -> Iterator[list[Numbers]]:
        while True:
            yield batches

    def evaluate(model: nn.Linear) -> dict[str, float]:
        assert not torch.is_grad_enabled()
        return {"eval/weight": model.weight.item()}

    context = StageContext("s", directory, 0, "float32", "cpu", 1, {})
    config = Training(learning_rate=learning_rate)
    evaluation = train(model, config, context, schedule, source, loss, evaluate)
    return model.weight.item(), evaluation, read_metrics(directory / "metrics.jsonl")


def test_loss_is_the_mean_over_all_micro_batches(tmp_path: Path) -> None:
    _, _, split = trained(tmp_path / "split", [Numbers((1.0,)), Numbers((2.0, 3.0))])
    _, _, joined = trained(tmp_path / "joined", [Numbers((1.0, 2.0, 3.0))])
    assert split[0]["loss"] == pytest.approx((1 + 4 + 9) / 3)
    assert [row["loss"] for row in split] == pytest.approx([row["loss"] for row in joined])


def test_weights_are_trained_in_place_and_evaluated_last(tmp_path: Path) -> None:
    weight, evaluation, rows = trained(tmp_path, [Numbers((1.0,))])
    assert weight > 0.5 and evaluation == {"eval/weight": weight}
    assert rows[-1]["eval/weight"] == weight and [row["step"] for row in rows] == list(range(1, 9))


def test_log_has_every_nth_step_evaluations_and_the_last_step(tmp_path: Path) -> None:
    _, _, rows = trained(tmp_path, [Numbers((1.0,))], Schedule(40, 15, 100))
    steps = [row["step"] for row in rows]
    assert steps == sorted({15, 30, *range(4, 41, 4)})
    assert [row["step"] for row in rows if "eval/weight" in row] == list(range(4, 41, 4))


def test_finished_stage_only_evaluates_again(tmp_path: Path) -> None:
    first = trained(tmp_path, [Numbers((1.0,))], Schedule(8, 1, 4))
    assert trained(tmp_path, [Numbers((5.0,))], Schedule(8, 1, 4)) == first


def test_resumed_stage_continues_from_its_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path / "resumed", [Numbers((1.0,))], Schedule(4, 1, 4))
    resumed = trained(tmp_path / "resumed", [Numbers((1.0,))], Schedule(8, 1, 4))[0]
    assert resumed == trained(tmp_path / "complete", [Numbers((1.0,))], Schedule(8, 1, 4))[0]


def test_best_evaluated_weights_are_published_also_after_a_restart(tmp_path: Path) -> None:
    """The weight comes closest to 1 in the middle of the stage, and moves away again."""

    def run(directory: Path, steps: int) -> tuple[float, dict[str, float]]:
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)

        def source(done: int) -> Iterator[list[Numbers]]:
            yield from ([Numbers((2.0,))] for _ in range(done, steps))

        def evaluate(model: nn.Linear) -> dict[str, float]:
            return {"eval/loss": abs(model.weight.item() - 1)}

        context = StageContext("s", directory, 0, "float32", "cpu", 1, {})
        config = SFT(kind="sft", model="m", data=["d"], learning_rate=0.2, lr_scheduler_type="constant",
                     best_metric="eval/loss")  # fmt: skip
        evaluation = train(model, config, context, Schedule(10, 1, 3), source, loss, evaluate)
        return model.weight.item(), evaluation

    complete, resumed = tmp_path / "complete", tmp_path / "resumed"
    weight, evaluation = run(complete, 10)
    rows = read_metrics(complete / "metrics.jsonl")
    lowest = min(rows, key=lambda row: row["eval/loss"])
    assert evaluation == {"published_step": lowest["step"], "eval/loss": lowest["eval/loss"]}
    assert abs(weight - 1) == evaluation["eval/loss"] < rows[-1]["eval/loss"] and 3 < lowest["step"] < 8
    names = sorted(path.name for path in (complete / "checkpoints").iterdir())
    assert names == [f"step_{step:08d}" for step in (lowest["step"], 6, 9)]
    run(resumed, 8)  # the source ends early
    assert run(resumed, 10) == (weight, evaluation)
    assert sorted(path.name for path in (resumed / "checkpoints").iterdir()) == names

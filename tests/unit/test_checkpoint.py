"""A run that is stopped and restored goes on bit for bit as if it had not been; only whole checkpoints count."""

from __future__ import annotations

import pytest
import torch

from r1kit.config import RL
from r1kit.learn import checkpoint
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.types import Completion

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")


def config(beta: float) -> RL:
    schedule = dict(learning_rate=3e-3, lr_scheduler_type="linear", warmup_steps=2, weight_decay=0.1, steps=120)
    rl = dict(model="m", prompts=["world:arithmetic"], max_completion_length=8, ref_refresh_steps=3, beta=beta)
    return RL(kind="rl", **schedule, **rl)


def batch_of(step: int, vocabulary: int):
    """Two groups of two answers, a pure function of the step."""
    generator = torch.Generator().manual_seed(step)
    rows = torch.randint(1, vocabulary, (6, 7), generator=generator).tolist()
    old = torch.randn(4, 7, generator=generator) * 0.1 - 5
    answers = [Completion("p", i, tuple(rows[i]), tuple(old[i].tolist()), "", "stop") for i in range(4)]
    advantages = torch.tensor([[1.0, -1.0], [0.5, -0.5]])
    return make_batch(rows[4:], [answers[:2], answers[2:]], advantages, temperature=1.0, mask_truncated=False)


def train(learner: Learner, steps: range) -> list[dict[str, float]]:
    return [learner.step(batch_of(step, learner.model.config.vocab_size), step) for step in steps]


def everything(learner: Learner) -> list[torch.Tensor]:
    """Every tensor the future depends on."""
    tensors = list(learner.model.state_dict().values()) + list(learner.master.state_dict().values())
    tensors += list(learner.reference.state_dict().values()) if learner.reference else []
    for parameter in learner.master.parameters():
        state = learner.optimizer.state[parameter]
        tensors += [state["exp_avg"], state["exp_avg_sq"], torch.as_tensor(state["step"])]
    return [tensor.clone() for tensor in tensors]


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(("beta", "dtype"), [(0.0, torch.float32), (0.02, torch.float32), (0.02, torch.bfloat16)])
@pytest.mark.parametrize("stop", [1, 4, 6])  # before, after and at a refresh of the reference
def test_restored_training_is_bit_identical(make_decoder, tmp_path, stop, beta, dtype):
    learner = Learner(make_decoder(0).to(dtype), config(beta))
    train(learner, range(stop))
    checkpoint.save(learner, {"step": stop, "cursor": 77, "tokens": 123}, tmp_path)
    at_save = everything(learner)
    metrics = train(learner, range(stop, stop + 4))
    final = everything(learner)
    assert not all(torch.equal(a, b) for a, b in zip(at_save, final, strict=True))

    fresh = Learner(make_decoder(9).to(dtype), config(beta))  # other weights: all must come from the checkpoint
    assert checkpoint.restore(fresh, tmp_path) == {"step": stop, "cursor": 77, "tokens": 123}
    assert_same(everything(fresh), at_save)
    assert train(fresh, range(stop, stop + 4)) == metrics
    assert_same(everything(fresh), final)


def test_saving_changes_nothing(make_decoder, tmp_path):
    saved, untouched = (Learner(make_decoder(0), config(0.02)) for _ in range(2))
    for step in range(4):
        train(saved, range(step, step + 1))
        checkpoint.save(saved, {"step": step + 1}, tmp_path)
    train(untouched, range(4))
    assert_same(everything(saved), everything(untouched))


def test_before_the_first_update_there_is_nothing_to_save(make_decoder, tmp_path):
    with pytest.raises(AssertionError, match="after an update"):
        checkpoint.save(Learner(make_decoder(0), config(0.0)), {"step": 0}, tmp_path)


def test_restored_weights_are_still_the_engines_own(make_decoder, tmp_path):
    """Loading fills the tensors in place: whoever shares the module, tied matrices included, sees the new weights."""
    learner = Learner(make_decoder(0), config(0.0))
    train(learner, range(1))
    checkpoint.save(learner, {"step": 1}, tmp_path)
    model = make_decoder(9)
    before = [p.data_ptr() for p in model.parameters()]
    checkpoint.restore(Learner(model, config(0.0)), tmp_path)
    assert [p.data_ptr() for p in model.parameters()] == before
    assert torch.equal(model.embed.weight, learner.model.embed.weight)
    assert model.head_weight is model.embed.weight


def test_only_whole_checkpoints_are_listed_and_the_newest_stay(make_decoder, tmp_path, monkeypatch):
    learner = Learner(make_decoder(0), config(0.0))
    assert checkpoint.checkpoints(tmp_path) == [] and checkpoint.restore(learner, tmp_path) is None
    train(learner, range(1))
    for name in (".step_00000099.tmp", ".step_00000098.old", "step_00000097.tmp", "step_12", "notes"):
        (tmp_path / name).mkdir()
    for step in (9, 10, 100):
        train(learner, range(step, step + 1))
        path = checkpoint.save(learner, {"step": step}, tmp_path)
        assert path.name == f"step_{step:08d}"
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step_00000010", "step_00000100"]

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "publish", die)  # killed after everything is written, before it has its name
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(learner, {"step": 200}, tmp_path)
    monkeypatch.undo()
    fresh = Learner(make_decoder(9), config(0.0))
    assert checkpoint.restore(fresh, tmp_path) == {"step": 100}
    assert_same(everything(fresh), everything(learner))
    checkpoint.save(learner, {"step": 200, "second": "try"}, tmp_path)  # what was left behind is not in the way
    assert checkpoint.restore(learner, tmp_path) == {"step": 200, "second": "try"}

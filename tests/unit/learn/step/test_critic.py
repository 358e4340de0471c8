"""PPO: the critic's values and gradient, token advantages, and the policy's gradient, against plain code."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from critics import CRITIC, critic_of, plain_advantages, plain_values, ppo_batch, ppo_learner, value_gradient
from learner_batches import CAP, TRUNCATED, config, gradient, plain_rows, relative_error
from tiny_learner import all_equal, restore, save

from r1kit.config import RL
from r1kit.errors import UserError
from r1kit.learn.kl import KLPenalty
from r1kit.learn.learner import Learner
from r1kit.learn.lora import has_adapters, trained_weights
from r1kit.learn.loss import OBJECTIVES, Clip, Norm, Terms, value_loss
from r1kit.learn.step.critic import load_critic
from r1kit.model.reference import local_model
from r1kit.types import TrainBatch

BETA = 0.05


@pytest.fixture
def made(make_decoder) -> Learner:
    return ppo_learner(make_decoder(0))


def plain_targets(made: Learner, batch: TrainBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Whitened advantages and returns [B, T]; 0 outside the mask."""
    ref = plain_rows(made.reference, batch)[0].detach() if made.reference is not None else None
    advantages = torch.zeros_like(batch.values_BT)
    for b, mask in enumerate(batch.trained_BT):
        rewards = [0.0] * int(mask.sum())
        if ref is not None:
            rewards = [-made.config.beta * float(x) for x in (batch.old_logp_BT[b] - ref[b])[mask]]
        if rewards:
            rewards[-1] += float(batch.rewards_B[b])
        row = plain_advantages(rewards, batch.values_BT[b][mask].tolist(), 1.0, made.config.gae_lambda)
        advantages[b, mask] = torch.tensor(row)
    mask = batch.trained_BT
    inside = advantages[mask]
    return ((advantages - inside.mean()) / inside.std()) * mask, (advantages + batch.values_BT) * mask


@pytest.mark.parametrize("with_environment", [False, True])
@pytest.mark.parametrize("beta", [0.0, BETA])
@pytest.mark.parametrize("gae_lambda", [1.0, 0.95, 0.0])
def test_advantages_and_returns_equal_plain_code(make_decoder, beta, gae_lambda, with_environment):
    made = ppo_learner(make_decoder(0), beta=beta, gae_lambda=gae_lambda)
    batch = ppo_batch(made.model, with_environment)
    prepared, mask = made.prepare(batch), batch.trained_BT
    advantages, returns = plain_targets(made, batch)
    torch.testing.assert_close(prepared.advantages_BT * mask, advantages, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prepared.returns_BT * mask, returns, rtol=1e-4, atol=1e-5)


def test_with_lambda_one_returns_are_the_reward_whatever_the_critic_says(make_decoder):
    made = ppo_learner(make_decoder(0), beta=0.0, gae_lambda=1.0)
    batch = ppo_batch(made.model)
    mask = batch.completion_mask_BT
    expected = batch.rewards_B[:, None].expand_as(mask)[mask]
    torch.testing.assert_close(made.prepare(batch).returns_BT[mask], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("template", [0, 300])  # 300 common tokens are a pass of their own
def test_values_of_shared_prompts_and_duplicates_equal_a_plain_pass(made, template):
    batch = ppo_batch(made.model, template=template)
    values = made.critic.values(batch)
    with torch.no_grad():
        torch.testing.assert_close(values, plain_values(made.critic.model, batch), rtol=1e-4, atol=1e-5)
    assert not values[~batch.completion_mask_BT].any() and not values.requires_grad


def test_completions_that_are_masked_out_have_no_part_in_an_update(made):
    """Truncated completions with mask_truncated_completions, and those that could not be graded."""
    batch = ppo_batch(made.model)
    assert not batch.completion_mask_BT[[*TRUNCATED]].any()
    rewards = batch.rewards_B.clone()
    rewards[[*TRUNCATED]] = 100.0
    changed = replace(batch, rewards_B=rewards, values_BT=batch.values_BT + 7 * ~batch.completion_mask_BT)
    for compute in (gradient, value_gradient):
        (sums, expected), (changed_sums, actual) = compute(made, batch), compute(made, changed)
        assert sums == changed_sums and all_equal(actual, expected)


def test_truncated_completions_end_like_others(make_decoder):
    """Their value is not bootstrapped: the last advantage is the reward minus the value, whatever comes next."""
    made = ppo_learner(make_decoder(0), beta=0.0, gae_lambda=0.5)
    batch = ppo_batch(made.model, mask_truncated=False)
    returns = made.prepare(batch).returns_BT
    for row in TRUNCATED:
        last = int(batch.completion_mask_BT[row].sum()) - 1
        assert float(returns[row, last]) == pytest.approx(float(batch.rewards_B[row]), abs=1e-5)


@pytest.mark.parametrize("with_environment", [False, True])
@pytest.mark.parametrize("beta", [0.0, BETA])
def test_gradient_of_the_policy_equals_plain_code(make_decoder, beta, with_environment):
    made = ppo_learner(make_decoder(0), beta=beta)
    batch = ppo_batch(made.model, with_environment)
    logp, mask = plain_rows(made.model, batch)[0], batch.trained_BT
    terms = Terms(logp, batch.old_logp_BT, None, plain_targets(made, batch)[0], mask)
    norm = Norm(int(batch.graded_B.sum()), int(mask.sum()), CAP)
    loss = OBJECTIVES["ppo"].loss(terms, Clip(0.2, 0.3), KLPenalty(beta), norm)
    expected = list(torch.autograd.grad(loss, list(made.model.parameters())))
    sums, actual = gradient(made, batch)
    assert relative_error(actual, expected) < 1e-4
    assert sums["loss"] == pytest.approx(loss.item(), rel=1e-3, abs=1e-6)
    assert sums["clip_ratio"] > 0 and (sums["kl"] > 0) == (beta > 0)


@pytest.mark.parametrize(("micro_batch_tokens", "with_environment"), [(20, False), (40, True), (10_000, False)])
def test_gradient_of_the_critic_equals_plain_code(make_decoder, micro_batch_tokens, with_environment):
    made = ppo_learner(make_decoder(0), micro_batch_tokens=micro_batch_tokens)
    batch, model = ppo_batch(made.model, with_environment), made.critic.model
    values, mask, (_, returns) = plain_values(model, batch), batch.trained_BT, plain_targets(made, batch)
    error = (values - returns).square()
    clipped = batch.values_BT + (values - batch.values_BT).clamp(-0.2, 0.2)
    loss = 0.5 * torch.maximum(error, (clipped - returns).square())[mask].mean()
    expected = list(torch.autograd.grad(loss, list(model.parameters())))
    sums, actual = value_gradient(made, batch)
    assert relative_error(actual, expected) < 1e-4
    outside = ((values - batch.values_BT).abs() > 0.2)[mask].sum()
    assert sums == pytest.approx({"loss": loss.item(), "clipped": float(outside)}, rel=1e-4) and outside > 0


def test_value_loss_of_a_worked_example():
    """Return 1, old value 0, epsilon 0.2: from 0.5 on, the clipped value 0.2 has the larger error, and no gradient."""
    values = torch.tensor([[0.1, 0.5, -0.5, 9.0]], requires_grad=True)
    old, returns, mask = torch.zeros(1, 4), torch.ones(1, 4), torch.tensor([[True, True, True, False]])
    loss = value_loss(values, old, returns, mask, 0.2, 3)
    loss.backward()
    assert loss.item() == pytest.approx((0.9**2 + 0.8**2 + 1.5**2) / 6)
    torch.testing.assert_close(values.grad, torch.tensor([[-0.9 / 3, 0, -1.5 / 3, 0]]))


def test_metrics_of_a_step(made):
    batch = ppo_batch(made.model)
    returns, mask = plain_targets(made, batch)[1], batch.completion_mask_BT
    sums, gradients = value_gradient(made, batch)
    metrics = made.step(batch, 0)
    expected = {
        "critic/loss": sums["loss"],
        "critic/clip_ratio": sums["clipped"] / int(mask.sum()),
        "critic/explained_variance": 1 - float((returns - batch.values_BT)[mask].var() / returns[mask].var()),
        "critic/grad_norm": float(torch.cat([g.flatten() for g in gradients]).norm()),
        "critic/learning_rate": CRITIC["learning_rate"],
    }
    assert {name: value for name, value in metrics.items() if name.startswith("critic/")} == pytest.approx(expected)
    assert metrics["skipped"] == 0 and metrics["learning_rate"] == made.config.learning_rate


def test_a_critic_learns_the_returns(make_decoder):
    made = ppo_learner(make_decoder(0), critic={"learning_rate": 3e-3}, epsilon=10.0, gae_lambda=1.0)
    batch = ppo_batch(made.model)
    rows = [made.step(batch, step) for step in range(12)]
    assert rows[-1]["critic/loss"] < rows[0]["critic/loss"] / 3
    learned = replace(batch, values_BT=made.critic.values(batch))
    assert made.step(learned, 12)["critic/explained_variance"] > 0.5 > rows[0]["critic/explained_variance"]


def test_non_finite_gradients_of_either_change_nothing(made):
    batch = ppo_batch(made.model)
    made.step(batch, 0)
    before = copy.deepcopy([*made.model.parameters(), *made.critic.model.parameters()])
    poisoned = replace(batch, rewards_B=torch.full_like(batch.rewards_B, math.inf))
    assert made.step(poisoned, 1)["skipped"] == 1
    assert all_equal([*made.model.parameters(), *made.critic.model.parameters()], before)
    assert made.step(batch, 2)["skipped"] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_resume_is_bit_exact(tmp_path, make_decoder, dtype):
    """With the critic and its optimizer in the checkpoint."""
    made, fresh = (ppo_learner(make_decoder(seed).to(dtype), ref_refresh_steps=2) for seed in (0, 1))
    batch = ppo_batch(made.model.float() if dtype == torch.float32 else make_decoder(0))
    for step in range(3):
        made.step(batch, step)
    save(made, {"step": 3}, tmp_path)
    expected = [made.step(batch, step) for step in (3, 4)]
    assert restore(fresh, tmp_path) == {"step": 3}
    assert [fresh.step(batch, step) for step in (3, 4)] == expected
    for one, two in ((made, fresh), (made.critic, fresh.critic)):
        assert all_equal([*one.model.parameters()], [*two.model.parameters()])
        assert all_equal([*one.master.parameters()], [*two.master.parameters()])


def test_running_out_of_memory_halves_the_micro_batch_of_both(made, monkeypatch, capsys):
    batch = ppo_batch(made.model)
    _, expected = value_gradient(made, batch)
    compute, budgets = made.passes.backward, []

    def fail_once(*arguments):
        compute(*arguments)
        budgets.append(made.passes.micro_batch_tokens)
        if len(budgets) == 1:
            raise MemoryError

    monkeypatch.setattr(made.passes, "backward", fail_once)
    _, actual = value_gradient(made, batch)
    assert budgets == [40, 20] and relative_error(actual, expected) < 1e-5
    assert "micro_batch_tokens = 20 (same gradient)" in capsys.readouterr().err
    assert made.step(batch, 0)["micro_batch_tokens"] == 20


# -- the critic before the first update -----------------------------------------------------------------------------


def rl(**changes: object) -> RL:
    return config(objective="ppo", **changes)


def test_a_critic_starts_as_the_policy_with_values_of_zero():
    path = local_model("sprout-base")
    critic = load_critic(rl(), path, None, torch.float32, "cpu", 0)
    assert not critic.score.weight.any() and all(weight.requires_grad for weight in critic.parameters())
    assert not hasattr(critic, "head")


def test_with_lora_a_critic_trains_adapters_and_its_head():
    pytest.importorskip("peft")
    critic = load_critic(rl(lora_rank=4), local_model("sprout-base"), None, torch.bfloat16, "cpu", 0)
    names = [*trained_weights(critic)]
    assert has_adapters(critic) and "score.weight" in names and all(".lora_" in n for n in names if n != "score.weight")
    assert {weight.dtype for weight in trained_weights(critic).values()} == {torch.float32}
    values = critic.values(critic(torch.arange(5, 15)[None])[0])
    values.sum().backward()
    assert values.dtype == torch.float32 and critic.score.weight.grad.any()


def test_a_reward_model_with_another_vocabulary_is_refused(tmp_path: Path, make_decoder, tokenizer):
    from r1kit.model.hf import save_model

    save_model(critic_of(make_decoder(0, vocab_size=99)), tokenizer, tmp_path / "judge")
    with pytest.raises(UserError, match=r"critic\.model: .*judge has 99 tokens in its vocabulary, the policy"):
        load_critic(rl(), local_model("sprout-base"), tmp_path / "judge", torch.float32, "cpu", 0)


def test_a_critic_may_start_from_a_reward_model(tmp_path: Path, make_decoder, tokenizer):
    from r1kit.model.hf import save_model

    policy = make_decoder(0)
    save_model(policy, tokenizer, tmp_path / "policy")
    given = critic_of(policy)
    save_model(given, tokenizer, tmp_path / "judge")
    loaded = load_critic(rl(), tmp_path / "policy", tmp_path / "judge", torch.float32, "cpu", 0)
    assert torch.equal(loaded.score.weight, given.score.weight)

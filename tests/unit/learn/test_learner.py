"""The learner's gradient is that of a plain implementation without any sharing, however its work is cut up."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch

from r1kit.config import RL
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.native import NativeEngine
from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.learn.kl import KLPenalty, k3
from r1kit.learn.learner import Learner
from r1kit.learn.loss import OBJECTIVES, Clip, Norm, Terms
from r1kit.types import Completion

G = 4
TEMPERATURE = 0.8
PROMPT_LENGTHS = (3, 11, 1, 6)
LENGTHS = (5, 1, 12, 3, 2, 9, 9, 4, 1, 1, 1, 1, 14, 6, 2, 7)
CUT_OFF = {5, 9}  # rows that ran into the length cap


def config(**changes) -> RL:
    defaults = dict(objective="grpo", beta=0.05, epsilon=0.2, epsilon_high=0.3, max_completion_length=16, steps=20)
    given = {**defaults, "micro_batch_tokens": 40, "prompts": ["world:arithmetic"], **changes}
    return RL(kind="rl", model="m", temperature=TEMPERATURE, **given)


def make_inputs(model, old_noise: float = 0.3, mask_truncated: bool = True, lengths=LENGTHS, template: int = 0):
    """A batch of `make_groups` with random rewards."""
    prompts, groups = make_groups(model, old_noise, lengths, template)
    rewards = torch.rand(len(prompts), G, generator=torch.Generator().manual_seed(4))
    return make_batch(
        prompts, groups, group_advantages(rewards), temperature=TEMPERATURE, mask_truncated=mask_truncated
    )


def make_groups(model, old_noise: float = 0.3, lengths=LENGTHS, template: int = 0):
    """Prompts that begin with `template` tokens they share, and groups of random completions.

    The old log-probabilities are the model's own plus noise.
    """
    generator = torch.Generator().manual_seed(5)
    vocabulary = model.config.vocab_size
    begin, *ends = (
        torch.randint(1, vocabulary, (n,), generator=generator).tolist() for n in (template, *PROMPT_LENGTHS)
    )
    prompts = [begin + end for end in ends]
    groups = [[] for _ in prompts]
    for row, length in enumerate(lengths):
        ids = torch.randint(1, vocabulary, (length,), generator=generator)
        with torch.no_grad():
            logp, _ = plain_logprobs(model, prompts[row // G], ids)
        old = logp + old_noise * torch.randn(length, generator=generator)
        reason = "length" if row in CUT_OFF else "stop"
        ids, old = tuple(ids.tolist()), tuple(old.tolist())
        groups[row // G].append(Completion(str(row // G), row % G, ids, old, "", reason))
    return prompts, groups


def plain_logprobs(model, prompt: list[int], completion) -> tuple[torch.Tensor, torch.Tensor]:
    """(logp_T, entropy_T): the whole row through the decoder, all logits at once."""
    row = torch.cat((torch.tensor(prompt), completion))
    logits = model.logits(model(row[None]))[0, len(prompt) - 1 : -1]
    all_logp = torch.log_softmax(logits / TEMPERATURE, dim=-1)
    return all_logp[torch.arange(len(completion)), completion], -(all_logp.exp() * all_logp).sum(-1)


def plain_rows(model, batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(logp_BT, entropy_BT), zero outside the mask."""
    rows = []
    for b, mask in enumerate(batch.completion_mask_BT):
        prompt = batch.prompt_PL[b // G][batch.prompt_mask_PL[b // G]].tolist()
        found = plain_logprobs(model, prompt, batch.completion_BT[b][mask])
        rows.append([torch.nn.functional.pad(x, (0, len(mask) - len(x))) for x in found])
    logps, entropies = zip(*rows, strict=True)
    return torch.stack(logps), torch.stack(entropies)


def plain_terms(learner: Learner, batch) -> tuple[Terms, torch.Tensor]:
    logp, entropy = plain_rows(learner.model, batch)
    ref = plain_rows(learner.reference, batch)[0].detach() if learner.reference else None
    return Terms(logp, batch.old_logp_BT, ref, batch.advantages_B, batch.completion_mask_BT), entropy


def plain_gradient(learner: Learner, batch) -> tuple[float, list[torch.Tensor]]:
    terms, _ = plain_terms(learner, batch)
    norm = Norm(len(batch.advantages_B), int(batch.completion_mask_BT.sum()), 16)
    cfg = learner.config
    loss = OBJECTIVES[cfg.objective].loss(
        terms, Clip(cfg.epsilon, cfg.epsilon_high or cfg.epsilon), KLPenalty(cfg.beta), norm
    )
    return loss.item(), list(torch.autograd.grad(loss, list(learner.model.parameters())))


def gradient(learner: Learner, batch) -> tuple[dict[str, float], list[torch.Tensor]]:
    learner.model.zero_grad()
    sums = learner.backward(batch, 16)
    return sums, [p.grad.clone() for p in learner.model.parameters()]


def relative(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest error of any parameter's gradient, relative to that gradient."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))


@pytest.fixture
def learner(make_decoder):
    """learner(**config): its reference is not its policy."""

    def make(**changes) -> Learner:
        made = Learner(make_decoder(0), config(**changes))
        if made.reference:
            for weight, other in zip(made.reference.parameters(), make_decoder(1).parameters(), strict=True):
                weight.data.lerp_(other, 0.05)
        return made

    return make


@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradient_equals_a_plain_implementation(learner, objective, beta):
    made = learner(objective=objective, beta=beta)
    batch = make_inputs(made.model)
    loss, expected = plain_gradient(made, batch)
    sums, found = gradient(made, batch)
    assert relative(found, expected) < 1e-5
    assert sums["loss"] == pytest.approx(loss, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("shape", [dict(model_type="llama"), dict(model_type="qwen3")])
def test_gradient_of_other_architectures_with_an_output_matrix_of_their_own(make_decoder, shape):
    made = Learner(make_decoder(3, tie_word_embeddings=False, num_key_value_heads=4, **shape), config())
    batch = make_inputs(made.model)
    assert relative(gradient(made, batch)[1], plain_gradient(made, batch)[1]) < 1e-5


def test_a_template_shared_by_all_prompts_is_computed_once(learner, monkeypatch):
    made = learner(micro_batch_tokens=200)
    batch = make_inputs(made.model, template=20)
    _, expected = plain_gradient(made, batch)
    computed = []
    made.model.embed.register_forward_hook(lambda _, tokens, __: computed.append(tokens[0].numel()))
    for worth, passes in ((61, [4 * 31]), (60, [20, 4 * 11])):  # three prompts are spared 20 tokens
        monkeypatch.setattr("r1kit.model.prefix.MIN_SAVED_TOKENS", worth)
        computed.clear()
        _, found = gradient(made, batch)
        assert relative(found, expected) < 1e-5
        assert computed[: len(passes)] == passes


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_answer_given_twice_is_computed_once(learner, objective):
    """Also where copies were sampled or rewarded differently; never across prompts, nor where one does not count."""
    made = learner(objective=objective, micro_batch_tokens=10_000)
    prompts, groups = make_groups(made.model)
    said = groups[0][2].token_ids
    for p, sample in ((0, 1), (0, 3), (1, 0), (1, 2)):
        other = groups[p][sample]
        old = (*other.logprobs, *groups[0][2].logprobs)[-len(said) :]
        groups[p][sample] = replace(other, token_ids=said, logprobs=old, finish_reason="stop")
    graded = torch.ones(len(prompts), G, dtype=torch.bool)
    graded[0, 3] = False
    rewards = torch.rand(len(prompts), G, generator=torch.Generator().manual_seed(4))
    advantages = group_advantages(rewards)
    batch = make_batch(prompts, groups, advantages, temperature=TEMPERATURE, mask_truncated=True, graded_PG=graded)
    assert batch.duplicate_of_B.tolist()[:8] == [0, 1, 1, 3, 4, 5, 4, 7]
    rows = []
    made.model.embed.register_forward_hook(lambda _, tokens, __: rows.append(tokens[0].shape[0]))
    sums, found = gradient(made, batch)
    assert sum(rows[1:]) == len(batch.duplicate_of_B.unique()), "the prompts, then every answer once"
    terms, entropy = plain_terms(made, batch)
    norm = Norm(int(graded.sum()), int(batch.completion_mask_BT.sum()), 16)
    loss = OBJECTIVES[objective].loss(terms, Clip(0.2, 0.3), KLPenalty(made.config.beta), norm)
    assert relative(found, list(torch.autograd.grad(loss, list(made.model.parameters())))) < 1e-5
    assert sums["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
    assert sums["entropy"] == pytest.approx(float(entropy.detach().sum()), rel=1e-4)


@pytest.mark.parametrize("objective", ["grpo", "dapo", "gspo", "dr_grpo"])
def test_cutting_the_work_up_never_changes_the_gradient(learner, objective):
    made = learner(objective=objective, micro_batch_tokens=100_000)
    batch = make_inputs(made.model)
    whole_sums, whole = gradient(made, batch)
    # 1: one row and one prompt at a time; 11, 22, 33: one, two or three prompts a block
    for tokens in (1, 11, 22, 33, 60):
        made.micro_batch_tokens = tokens
        sums, found = gradient(made, batch)
        total = torch.cat([x.flatten() for x in whole]).norm()
        assert torch.cat([(a - b).flatten() for a, b in zip(found, whole, strict=True)]).norm() / total < 1e-6
        assert sums == pytest.approx(whole_sums, rel=1e-4, abs=1e-6)


def test_skipping_groups_without_variance_leaves_out_their_kl_and_nothing_else(learner):
    kept, skipping = learner(beta=0.0), learner(beta=0.0, skip_zero_variance=True)
    batch = make_inputs(kept.model)
    flat = torch.arange(len(LENGTHS)) // G == 1
    batch = replace(batch, advantages_B=batch.advantages_B.masked_fill(flat, 0.0))
    sums, found = gradient(skipping, batch)
    assert relative(found, gradient(kept, batch)[1]) < 1e-6
    assert sums["tokens"] == batch.completion_mask_BT[~flat].sum()
    with_kl, expected = learner(skip_zero_variance=True), learner()
    masked = replace(batch, completion_mask_BT=batch.completion_mask_BT & ~flat[:, None])
    assert relative(gradient(with_kl, batch)[1], gradient(expected, masked)[1]) < 1e-6


def test_when_no_group_varies_none_is_skipped(learner):
    made, plain = learner(skip_zero_variance=True), learner()
    batch = make_inputs(made.model)
    batch = replace(batch, advantages_B=torch.zeros_like(batch.advantages_B))
    assert relative(gradient(made, batch)[1], gradient(plain, batch)[1]) == 0


def test_padding_of_prompts_and_completions_is_never_seen(learner):
    made = learner()
    batch = make_inputs(made.model)
    noisy = replace(
        batch,
        prompt_PL=batch.prompt_PL.where(batch.prompt_mask_PL, torch.tensor(7)),
        completion_BT=batch.completion_BT.where(batch.completion_mask_BT, torch.tensor(9)),
    )
    assert not torch.equal(noisy.prompt_PL, batch.prompt_PL)
    assert relative(gradient(made, noisy)[1], gradient(made, batch)[1]) == 0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_cut_off_answers_are_left_out(learner, objective):
    made = learner(objective=objective)
    batch = make_inputs(made.model)
    masked = ~batch.completion_mask_BT.any(1)
    assert masked.nonzero().flatten().tolist() == sorted(CUT_OFF)
    changed = replace(
        batch,
        advantages_B=torch.where(masked, 100.0, batch.advantages_B),
        completion_BT=torch.where(masked[:, None], 3, batch.completion_BT),
        old_logp_BT=torch.where(masked[:, None], -0.1, batch.old_logp_BT),
    )
    sums, expected = gradient(made, batch)
    sums_changed, found = gradient(made, changed)
    assert relative(found, expected) == 0 and sums_changed == sums
    kept_in = make_inputs(made.model, mask_truncated=False)
    assert kept_in.completion_mask_BT.sum() == sum(LENGTHS)
    assert relative(gradient(made, kept_in)[1], expected) > 1e-4


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_could_not_be_graded_is_as_if_it_had_not_been_sampled(learner, objective):
    """One answer of each group is left out, whatever its reward: gradient and sums are those of groups of G - 1."""
    made = learner(objective=objective)
    generator = torch.Generator().manual_seed(6)
    rewards = torch.rand(len(PROMPT_LENGTHS), G, generator=generator)
    graded = torch.ones(len(PROMPT_LENGTHS), G, dtype=torch.bool)
    graded[torch.arange(len(graded)), torch.tensor([2, 0, 3, 1])] = False
    rewards[~graded] = torch.tensor([1e6, -1e6, float("nan"), float("inf")])
    scaled = objective != "dr_grpo"
    prompts, groups = make_groups(made.model)
    given = {"temperature": TEMPERATURE, "mask_truncated": False}
    whole = make_batch(prompts, groups, group_advantages(rewards, scaled, graded), **given, graded_PG=graded)
    kept = [[group[i] for i in row.nonzero().flatten()] for group, row in zip(groups, graded, strict=True)]
    small = make_batch(prompts, kept, group_advantages(rewards[graded].view(-1, G - 1), scaled), **given)
    sums, found = gradient(made, whole)
    sums_small, expected = gradient(made, small)
    assert relative(found, expected) < 1e-5 and sums == pytest.approx(sums_small, rel=1e-4, abs=1e-6)
    none = torch.zeros_like(graded)  # nothing at all could be graded: nothing is learnt
    lost = make_batch(prompts, groups, group_advantages(rewards, scaled, none), **given, graded_PG=none)
    made.model.zero_grad()
    assert made.step(lost, 0)["grad_norm"] == 0


def test_an_update_that_is_not_finite_leaves_everything_as_it_was_bit_for_bit(learner):
    made = learner(learning_rate=1e-2)
    batch = make_inputs(made.model)
    made.step(batch, 0)
    before = copy.deepcopy((made.model.state_dict(), made.optimizer.state_dict()))
    for poison in (float("nan"), float("inf")):
        metrics = made.step(replace(batch, advantages_B=torch.full_like(batch.advantages_B, poison)), 1)
        assert metrics["skipped"] == 1 and not math.isfinite(metrics["grad_norm"])
        after = (made.model.state_dict(), made.optimizer.state_dict())
        torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert made.step(batch, 2)["skipped"] == 0 and all(p.isfinite().all() for p in made.model.parameters())


def test_a_batch_of_nothing_but_cut_off_answers_or_single_tokens(learner):
    made = learner(beta=0.0)
    single = make_inputs(made.model, lengths=(1,) * len(LENGTHS))
    assert relative(gradient(made, single)[1], plain_gradient(made, single)[1]) < 1e-5
    nothing = replace(single, completion_mask_BT=torch.zeros_like(single.completion_mask_BT))
    metrics = learner(beta=0.05).step(nothing, 0)
    assert metrics["grad_norm"] == metrics["loss"] == metrics["kl"] == metrics["entropy"] == 0


def test_without_advantages_and_kl_the_gradient_is_exactly_zero(learner):
    for objective in OBJECTIVES:
        made = learner(objective=objective, beta=0.0)
        batch = make_inputs(made.model)
        _, found = gradient(made, replace(batch, advantages_B=torch.zeros_like(batch.advantages_B)))
        assert all((x == 0).all() for x in found)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_logged_numbers(learner, objective):
    made = learner(objective=objective)
    batch = make_inputs(made.model)
    terms, entropy = plain_terms(made, batch)
    loss, gradients = plain_gradient(made, batch)
    mask = batch.completion_mask_BT
    tokens = int(mask.sum())
    gap = (terms.logp_BT - batch.old_logp_BT).abs()[mask]
    ratio = OBJECTIVES[objective].ratio(terms).expand_as(mask)
    good = batch.advantages_B[:, None] > 0
    clipped = torch.where(good, ratio > 1.3, ratio < 0.8) & mask
    expected = {
        "loss": loss,
        "grad_norm": float(torch.cat([g.flatten() for g in gradients]).norm()),
        "skipped": 0,
        "learning_rate": made.config.learning_rate,
        "kl": k3(terms.logp_BT, terms.ref_logp_BT)[mask].sum().item() / tokens,
        "entropy": entropy.sum().item() / tokens,
        "clip_ratio": int(clipped.sum()) / tokens,
        "sampling/logp_difference_mean": gap.mean().item(),
        "sampling/logp_difference_max": gap.max().item(),
    }
    assert expected["clip_ratio"] > 0 and expected["kl"] > 0.001
    assert made.step(batch, 0) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_reference_is_refreshed_after_every_nth_update(learner):
    def same(a, b) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))

    made = learner(ref_refresh_steps=3, learning_rate=1e-2)
    batch = make_inputs(made.model)
    refreshed, before = [], copy.deepcopy(made.reference)
    for step in range(7):
        made.step(batch, step)
        refreshed.append(same(made.reference, made.model))
        assert refreshed[-1] or same(made.reference, before)
        before = copy.deepcopy(made.reference)
    assert refreshed == [False, False, True, False, False, True, False]
    never = learner(ref_refresh_steps=0, learning_rate=1e-2)
    start = copy.deepcopy(never.reference)
    for step in range(4):
        never.step(batch, step)
    assert same(never.reference, start)
    assert not any(p.requires_grad for p in made.reference.parameters())


def test_a_step_makes_good_answers_likelier(learner):
    made = learner(beta=0.0, learning_rate=1e-3)
    batch = make_inputs(made.model, old_noise=0.0, mask_truncated=False)
    before = plain_rows(made.model, batch)[0].sum(1)
    for step in range(3):
        made.step(batch, step)
    change = (plain_rows(made.model, batch)[0].sum(1) - before).detach()
    assert float((change * batch.advantages_B).sum()) > 0
    assert all(p.grad is None for p in made.model.parameters())


def test_low_precision_weights_learn_through_an_fp32_master(make_decoder):
    """A step far below bfloat16's resolution is kept, and gradients of many micro-batches add up in fp32."""
    exact = Learner(make_decoder(0), config(learning_rate=3e-6, micro_batch_tokens=11))
    low = Learner(make_decoder(0).bfloat16(), config(learning_rate=3e-6, micro_batch_tokens=11))
    batch = make_inputs(exact.model)
    low.backward(batch, 16)
    exact.backward(batch, 16)
    for a, b in zip(low.master.parameters(), exact.model.parameters(), strict=True):
        assert torch.cosine_similarity(a.grad.flatten(), b.grad.flatten(), dim=0) > 0.95
    assert all(p.grad is None for p in low.model.parameters())
    before = [p.detach().clone() for p in low.master.parameters()]
    for step in range(3):
        low.step(batch, step)
    for old, high, rounded in zip(before, low.master.parameters(), low.model.parameters(), strict=True):
        assert high.dtype == torch.float32 and rounded.dtype == torch.bfloat16
        assert 0 < float((high.detach() - old).abs().max()) < 2e-5 and torch.equal(rounded, high.bfloat16())


def test_generation_and_training_agree(learner, tokenizer):
    """The log-probabilities the engine reports are those the learner computes for the same weights."""
    made = learner(learning_rate=1e-2)
    engine = NativeEngine(made.model, tokenizer)
    requests = [Request(f"p{n}", tuple(range(5, 5 + n)), G) for n in PROMPT_LENGTHS]
    for step in range(2):  # the second after an update: both hold the same module
        answers = engine.generate(requests, SamplingParams(step, 14, TEMPERATURE, top_p=0.9))
        groups = [answers[i : i + G] for i in range(0, len(answers), G)]
        advantages = torch.tensor([[1.0, -1.0, 0.5, -0.5]] * len(groups))
        prompts = [request.token_ids for request in requests]
        batch = make_batch(prompts, groups, advantages, temperature=TEMPERATURE, mask_truncated=False)
        metrics = made.step(batch, step)
        assert 0 < metrics["sampling/logp_difference_max"] < 2e-5
        assert metrics["clip_ratio"] == 0

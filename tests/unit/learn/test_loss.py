"""Objectives: a worked example, gradients, and independence of how a step is split.

The worked example: two sequences of 3 and 2 tokens, advantages 2 and -1, epsilon 0.2, beta 0.1.

    ratio pi/pi_old   1.5  1    0.5  |  0.5  1.5      1.5 and 0.5 are outside [0.8, 1.2]
    pi_ref/pi         2    1    0.5  |  1    4
    min(rA, clip A)   2.4  2    1    | -0.8 -1.5      clipped: the first token of each sequence
    k3 = x - ln x - 1:  1 - ln 2,  0,  ln 2 - 0.5  |  0,  3 - ln 4
"""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from r1kit.config import RL
from r1kit.learn.kl import KLPenalty
from r1kit.learn.loss import OBJECTIVES, Clip, Norm, Terms, clip_counts, is_clipped, sequence_ratio, surrogate

CLIP, BETA = Clip(0.2, 0.2), 0.1
KL_PENALTY, NO_KL = KLPenalty(BETA), KLPenalty(0)
NORM = Norm(sequences=2, tokens=5, max_tokens=10)
LOGP = [[-1.0, -2.0, -0.5], [-0.4, -3.0, 7.0]]  # the last number of each second row is padding and must not count
RATIO = [[1.5, 1.0, 0.5], [0.5, 1.5, 9.0]]
REF_RATIO = [[2.0, 1.0, 0.5], [1.0, 4.0, 99.0]]
MASK = [[True, True, True], [True, True, False]]
KL_SUMS = (0.5, 3 - math.log(4))  # per sequence: (1 - ln 2) + 0 + (ln 2 - 0.5), and 0 + (3 - ln 4)
KL_MEANS = (0.5 + (3 - math.log(4)) * 1.5) / 3  # 0.5 / 3 + (3 - ln 4) / 2

POLICY = {  # loss without KL
    "grpo": -(5.4 / 3 - 2.3 / 2) / 2,
    "ppo": -(5.4 / 3 - 2.3 / 2) / 2,
    "dr_grpo": -(5.4 - 2.3) / (2 * 10),
    "dapo": -(5.4 - 2.3) / 5,
    # product of ratios 0.75 twice: min(1.5, 1.6) and min(-0.75, -0.8)
    "grpo_sequence": -(1.5 - 0.8) / 2,
    # geometric means, both inside: 0.75 ** (1/3) = 0.908560 and 0.75 ** (1/2) = 0.866025
    "gspo": -(2 * 0.9085602964 - 0.8660254038) / 2,
    # weights clamped to 1.2, 1, 0.8 | 0.8, 1.2; sum of w A logp = 2 (-1.2 - 2 - 0.4) - (-0.32 - 3.6) = -3.28
    "cispo": 3.28 / 5,
}
KL = {  # factor of beta
    "grpo": KL_MEANS / 2,
    "ppo": 0,  # it is in the rewards
    "dr_grpo": sum(KL_SUMS) / (2 * 10),
    "dapo": sum(KL_SUMS) / 5,
    "grpo_sequence": (0 + 3 - math.log(4)) / 2,  # sequence probabilities differ by 2 * 1 * 0.5 = 1, and by 4
    "gspo": KL_MEANS / 2,
    "cispo": sum(KL_SUMS) / 5,
}


def example(with_reference: bool = True) -> Terms:
    logp = torch.tensor(LOGP, dtype=torch.float64)
    ref = logp + torch.tensor(REF_RATIO, dtype=torch.float64).log()
    old = logp - torch.tensor(RATIO, dtype=torch.float64).log()
    advantages = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)
    return Terms(logp.requires_grad_(), old, ref if with_reference else None, advantages, torch.tensor(MASK))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_match_worked_example(name):
    assert OBJECTIVES[name].loss(example(False), CLIP, KL_PENALTY, NORM).item() == pytest.approx(POLICY[name], abs=1e-9)
    total = POLICY[name] + BETA * KL[name]
    assert OBJECTIVES[name].loss(example(), CLIP, KL_PENALTY, NORM).item() == pytest.approx(total, abs=1e-9)


def test_asymmetric_clip_matches_worked_example():
    low = Clip(0.05, 0.3)
    # gspo: min(2 * 0.908560, 2 * 0.95) = 1.817121 and min(-0.866025, -0.95) = -0.95
    assert OBJECTIVES["gspo"].loss(example(False), low, NO_KL, NORM).item() == pytest.approx(-(1.8171205928 - 0.95) / 2)
    # grpo: 1.3 * 2 = 2.6, 2, 1 and -0.95, -1.5
    assert OBJECTIVES["grpo"].loss(example(False), low, NO_KL, NORM).item() == pytest.approx(-(5.6 / 3 - 2.45 / 2) / 2)
    # cispo: weights 1.3, 1, 0.95 | 0.95, 1.3: 2 (-1.3 - 2 - 0.475) + 0.38 + 3.9 = -3.27
    assert OBJECTIVES["cispo"].loss(example(False), low, NO_KL, NORM).item() == pytest.approx(3.27 / 5)


# Where a gradient remains. Token ratios: not at the first token of each sequence; sequence ratios: not in the second.
ACTIVE = {"grpo_sequence": [[1, 1, 1], [0, 0, 0]], "gspo": MASK, "cispo": MASK}
ACTIVE |= {name: [[0, 1, 1], [0, 1, 0]] for name in ("grpo", "ppo", "dr_grpo", "dapo")}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_is_zero_exactly_where_is_clipped(name):
    terms = example(False)
    OBJECTIVES[name].loss(terms, CLIP, NO_KL, NORM).backward()
    active = torch.tensor(ACTIVE[name], dtype=torch.bool)
    assert torch.equal(terms.logp_BT.grad != 0, active)
    if name != "cispo":  # it clips the weight and keeps the gradient
        ratio = OBJECTIVES[name].ratio(terms)
        clipped = is_clipped(ratio, terms.advantages_BT, CLIP)
        assert torch.equal(clipped & terms.mask_BT, ~active & terms.mask_BT)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_at_ratio_one_matches_deepseekmath(name):
    """DeepSeekMath eq. 21: each token's coefficient is A + beta (pi_ref / pi - 1)."""
    terms = example()
    terms = Terms(terms.logp_BT, terms.logp_BT.detach(), terms.ref_logp_BT, terms.advantages_BT, terms.mask_BT)
    OBJECTIVES[name].loss(terms, CLIP, KL_PENALTY, NORM).backward()
    per_token = torch.tensor(
        [[2 + BETA * (2 - 1), 2, 2 + BETA * (0.5 - 1)], [-1, -1 + BETA * (4 - 1), 0]], dtype=torch.float64
    )
    per_sequence = torch.tensor([[2.0] * 3, [-1 + BETA * 3, -1 + BETA * 3, 0]], dtype=torch.float64)
    lengths = torch.tensor([[3.0], [2.0]], dtype=torch.float64)
    expected = {
        "grpo": per_token / lengths / 2,
        "ppo": torch.tensor([[2.0] * 3, [-1, -1, 0]], dtype=torch.float64) / lengths / 2,
        "dr_grpo": per_token / 20,
        "dapo": per_token / 5,
        "grpo_sequence": per_sequence / 2,
        "gspo": per_token / lengths / 2,
        "cispo": per_token / 5,
    }[name]
    torch.testing.assert_close(-terms.logp_BT.grad, expected, rtol=0, atol=1e-12)


def test_cispo_keeps_the_gradient_of_clipped_tokens():
    terms = example(False)
    OBJECTIVES["cispo"].loss(terms, CLIP, NO_KL, NORM).backward()
    expected = torch.tensor([[1.2 * 2, 2, 0.8 * 2], [-0.8, -1.2, 0]], dtype=torch.float64) / 5  # weight times A
    torch.testing.assert_close(-terms.logp_BT.grad, expected)


def test_epsilon_ten_clips_only_large_ratios_with_positive_advantage():
    """R1's epsilon: the interval is [-9, 11], so only A > 0 and ratio > 11 is ever clipped."""
    clip = Clip(10, 10)
    ratios = torch.logspace(-6, 6, 121, dtype=torch.float64)
    ratios = torch.cat((ratios, torch.tensor([0.0, 1.0, 10.999, 11.0, 11.001])))
    for advantage in (-2.0, -0.1, 0.1, 2.0):
        ratio, a = ratios.clone().requires_grad_(), torch.tensor(advantage, dtype=torch.float64)
        value = surrogate(ratio, a, clip)
        value.sum().backward()
        clipped = (ratios > 11) if advantage > 0 else torch.zeros_like(ratios, dtype=torch.bool)
        assert torch.equal(is_clipped(ratios, a, clip), clipped)
        torch.testing.assert_close(value.detach(), torch.where(clipped, 11.0, ratios) * advantage)
        assert (ratio.grad[clipped] == 0).all() and (ratio.grad[~clipped & (ratios != 11)] == advantage).all()


def random_terms(seed: int) -> Terms:
    generator = torch.Generator().manual_seed(seed)
    logp, old, ref = -3 * torch.rand(3, 6, 9, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([9, 1, 4, 0, 7, 3])  # one sequence without any token
    mask = torch.arange(9) < lengths[:, None]
    advantages = torch.randn(6, 1, generator=generator, dtype=torch.float64)
    return Terms(logp.requires_grad_(), logp.detach() * 0.5 + old * 0.5, ref, advantages, mask)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_of_micro_batches_add_up(name):
    for seed, parts in enumerate([[0, 1, 2, 3, 4, 5], [[5, 0], [1], [4, 2, 3]], [[3], [0, 1, 2, 4, 5]]]):
        terms, norm = random_terms(seed), Norm(6, 24, 16)
        full = OBJECTIVES[name].loss(terms, CLIP, KL_PENALTY, norm)
        (expected,) = torch.autograd.grad(full, terms.logp_BT)
        total = 0
        for part in parts:
            rows = torch.tensor([part]).flatten()
            fields = (terms.logp_BT, terms.old_logp_BT, terms.ref_logp_BT, terms.advantages_BT, terms.mask_BT)
            total = total + OBJECTIVES[name].loss(Terms(*(x[rows] for x in fields)), CLIP, KL_PENALTY, norm)
        (gradient,) = torch.autograd.grad(total, terms.logp_BT)
        torch.testing.assert_close(total, full, rtol=1e-6, atol=1e-12)
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-12)
        assert full != 0
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_padding_and_empty_sequences_do_not_count(name):
    terms, norm = random_terms(7), Norm(6, 24, 16)
    loss = OBJECTIVES[name].loss(terms, CLIP, KL_PENALTY, norm)
    (gradient,) = torch.autograd.grad(loss, terms.logp_BT)
    assert (gradient[~terms.mask_BT] == 0).all() and (gradient[terms.mask_BT] != 0).any()
    noise = torch.randn(6, 9, dtype=torch.float64) * ~terms.mask_BT
    kept = [0, 1, 2, 4, 5]  # all but the empty one
    changed = Terms(
        (terms.logp_BT + noise)[kept], (terms.old_logp_BT - noise)[kept], (terms.ref_logp_BT * (1 + noise))[kept],
        terms.advantages_BT[kept], terms.mask_BT[kept],
    )  # fmt: skip
    torch.testing.assert_close(OBJECTIVES[name].loss(changed, CLIP, KL_PENALTY, norm), loss)


def test_recipes_accept_exactly_the_objectives_there_are():
    assert get_args(RL.model_fields["objective"].annotation) == tuple(OBJECTIVES)


def gradients(name: str, clip: Clip) -> torch.Tensor:
    """How strongly each token of the worked example is pushed up: the gradient of -loss."""
    terms = example(False)
    OBJECTIVES[name].loss(terms, clip, NO_KL, NORM).backward()
    return -terms.logp_BT.grad


def test_importance_cap_scales_the_gradient_of_heavy_tokens_down():
    """Clipped only above 11, as in R1: the gradient of a token is min(ratio, cap) * A, over 5 tokens."""
    wide, capped = Clip(10, 10), Clip(10, 10, cap=1.25)
    plain = torch.tensor([[1.5 * 2, 2, 0.5 * 2], [-0.5, -1.5, 0]], dtype=torch.float64) / 5
    torch.testing.assert_close(gradients("dapo", wide), plain)
    expected = torch.tensor([[1.25 * 2, 2, 0.5 * 2], [-0.5, -1.25, 0]], dtype=torch.float64) / 5
    torch.testing.assert_close(gradients("dapo", capped), expected)
    assert OBJECTIVES["dapo"].loss(example(False), capped, NO_KL, NORM).item() == pytest.approx(-(5.5 - 1.75) / 5)


def test_importance_cap_of_sequence_ratios():
    """Both sequences have the ratio 0.75; with the first ratio 1.5 -> 6 the first sequence has 3, capped to 2."""
    terms = example(False)
    old = terms.old_logp_BT.clone()
    old[0, 0] -= math.log(4)
    terms = Terms(terms.logp_BT, old, None, terms.advantages_BT, terms.mask_BT)
    OBJECTIVES["grpo_sequence"].loss(terms, Clip(10, 10, cap=2.0), NO_KL, NORM).backward()
    expected = torch.tensor([[2.0 * 2] * 3, [-0.75, -0.75, 0]], dtype=torch.float64) / 2
    torch.testing.assert_close(-terms.logp_BT.grad, expected)
    assert sequence_ratio(terms, 2.0).flatten().tolist() == pytest.approx([2, 0.75])
    assert sequence_ratio(terms).flatten().tolist() == pytest.approx([3, 0.75])
    huge = Terms(terms.logp_BT, old - 400, None, terms.advantages_BT, terms.mask_BT)
    loss = OBJECTIVES["grpo_sequence"].loss(huge, Clip(10, 10, cap=2.0), NO_KL, NORM)
    (gradient,) = torch.autograd.grad(loss, terms.logp_BT)
    assert torch.isfinite(gradient).all(), "a ratio that overflows is capped too"


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
def test_dual_clip_ends_the_push_on_tokens_with_negative_advantage(name):
    """Ye et al. 2020: for A = -1 and c = 1.3, ratio 1.5 has the value -1.3 and no gradient; ratio 0.5 is as before."""
    plain, dual = gradients(name, CLIP), gradients(name, Clip(0.2, 0.2, dual=1.3))
    assert plain[1, 1] < 0 == dual[1, 1]
    torch.testing.assert_close(dual[0], plain[0])
    torch.testing.assert_close(dual[1, 0], plain[1, 0])
    values = surrogate(torch.tensor([0.5, 1.2, 1.3, 1.5, 9.0]), torch.tensor(-1.0), Clip(0.2, 0.2, dual=1.3))
    torch.testing.assert_close(values, torch.tensor([-0.8, -1.2, -1.3, -1.3, -1.3]))
    assert OBJECTIVES["grpo"].loss(example(False), Clip(0.2, 0.2, dual=1.3), NO_KL, NORM).item() == pytest.approx(
        -(5.4 / 3 - 2.1 / 2) / 2
    )


def test_clip_counts_of_the_worked_example():
    counts = clip_counts(OBJECTIVES["grpo"], example(False), Clip(0.2, 0.2, dual=1.3, cap=1.4))
    assert counts == {"clip_ratio": 2, "dual_clip_ratio": 1, "importance_capped": 2}
    assert clip_counts(OBJECTIVES["grpo"], example(False), CLIP) == {"clip_ratio": 2}
    assert clip_counts(OBJECTIVES["cispo"], example(False), CLIP) == {"clip_ratio": 4}, "whatever the advantage"


def test_cispo_has_the_bounds_of_its_papers():
    config = RL(kind="rl", model="m", prompts=["p.jsonl"], objective="cispo")
    clip = Clip.from_config(config)
    assert (1 - clip.low, 1 + clip.high) == (0, 5), "no lower bound (MiniMax-M1), at most 5 (ScaleRL)"
    assert RL(kind="rl", model="m", prompts=["p.jsonl"], objective="cispo", epsilon_high=7).epsilon_high == 7
    weights = {0.001: 0.001, 1.0: 1.0, 4.9: 4.9, 30.0: 5.0}
    logp = torch.full((1, len(weights)), -1.0, dtype=torch.float64, requires_grad=True)
    old = logp.detach() - torch.tensor([list(weights)], dtype=torch.float64).log()
    terms = Terms(logp, old, None, torch.tensor([[1.0]], dtype=torch.float64), torch.ones_like(old, dtype=torch.bool))
    OBJECTIVES["cispo"].loss(terms, clip, NO_KL, Norm(1, 1, 10)).backward()
    torch.testing.assert_close(-logp.grad, torch.tensor([list(weights.values())], dtype=torch.float64))
    plain = Clip.from_config(RL(kind="rl", model="m", prompts=["p.jsonl"]))
    assert plain == Clip(0.2, 0.2, None, None), "both further bounds are off by default"

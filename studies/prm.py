"""A process reward model against its simple rivals, at equal compute (paper, "Unsuccessful Attempts").

python studies/prm.py --seeds 0 1 2

1. Train R1-Zero on sprout-base for a while: the actor of all that follows.
2. Label the steps of its solutions by rollouts (Math-Shepherd, arXiv 2312.08935): the label of a step is the share of
   completions from there that are right. Train a process reward model (PRM) on them.
3. With the compute of 2, train an outcome reward model (ORM) on complete solutions, or continue RL.
4. Choose among N solutions of held-out problems by PRM, ORM or majority vote, and compare with RL.
5. Use the PRM as the reward of RL, and watch the reward and the true accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import torch
from actor import TRAINING, Actor, Branch, Graded, Scores, problems, rate, scores, started, votes
from study import Arm, arm_table, curve_table, main, markdown, mean_rows
from torch import Tensor
from value import SETTINGS, Example, ValueModel, best_of, step_ends, values_of

from r1kit.data.prompt import Prompt
from r1kit.evals.metrics import pass_at_k
from r1kit.hashing import derive_seed
from r1kit.types import Completion, Problem


@dataclass(frozen=True)
class Sizes:
    """How much is computed. Problems are counted for each of the three families."""

    start_steps: int = 25  # of RL before the study begins
    start_prompts: int = 32  # in each of these
    prompts_per_step: int = 16  # of the RL that is compared
    problems: int = 250  # with labelled steps
    solutions: int = 2  # of each
    rollouts: int = 8  # from every step
    held_out: int = 80
    samples: int = 8  # N of best-of-N
    voters: int = 64  # of the largest majority vote, at least twice `samples`


TINY = Sizes(
    start_steps=1,
    start_prompts=2,
    prompts_per_step=2,
    problems=3,
    solutions=2,
    rollouts=2,
    held_out=3,
    samples=2,
    voters=4,
)


def label_steps(actor: Actor, answered: Sequence[Graded], rollouts: int, seed: int) -> list[Example]:
    """Return the solutions with the share of right completions from the end of each step.

    A complete solution needs no rollouts: its label is whether it is right.
    """
    solutions = []
    for group in answered:
        for completion, right in zip(group.completions, group.right, strict=True):
            ends = step_ends(completion.token_ids, actor.tokenizer)
            solutions.append((Branch(group.prompt, completion.token_ids), ends, float(right)))
    begun = {
        (branch.prompt.problem.id, branch.tokens[:end]): Branch(branch.prompt, branch.tokens[:end])
        for branch, ends, _ in solutions
        for end in ends[:-1]
    }
    groups = actor.complete([*begun.values()], rollouts, seed)
    scored = scores([branch.prompt for branch in begun.values()], groups)
    shares = [fmean(score.parts["accuracy"] for score in group) for group in scored]
    share_of = dict(zip(begun, shares, strict=True))
    return [
        Example(branch, ends, [*(share_of[branch.prompt.problem.id, branch.tokens[:end]] for end in ends[:-1]), right])
        for branch, ends, right in solutions
    ]


def outcomes(answered: Sequence[Graded]) -> list[Example]:
    """Return the solutions labelled at their end only."""
    return [
        Example(Branch(group.prompt, c.token_ids), [len(c.token_ids)], [float(right)])
        for group in answered
        for c, right in zip(group.completions, group.right, strict=True)
    ]


def study(seed: int, sizes: Sizes) -> dict[str, Any]:
    """Run the study with one seed; return what `page` shows."""
    train, held_out = problems("train", TRAINING), problems("held_out", sizes.held_out)
    size = sizes.prompts_per_step
    start, cost = started(seed, sizes.start_steps, sizes.start_prompts, prompts_per_step=size)

    actor = start.copy()
    labelled = problems("train", sizes.problems)
    answered = actor.answer(labelled, sizes.solutions, derive_seed("solutions", seed))
    examples = label_steps(actor, answered, sizes.rollouts, derive_seed("labels", seed))
    prm = ValueModel(actor)
    prm.fit(examples, seed)
    budget = actor.compute.passes

    orm, orm_cost, count = outcome_model(start, train, budget, seed)
    rule = start.copy()
    steps = max(1, round(budget / cost / size))
    by_rule = rule.reinforce(train, steps, derive_seed("rl", seed))

    tests = start.copy()
    voting = tests.answer(held_out, sizes.voters, derive_seed("test", seed))
    chosen = [Graded(g.prompt, g.completions[: sizes.samples], g.right[: sizes.samples], g.answers) for g in voting]
    each = tests.compute.passes / len(held_out) / sizes.voters  # per sample
    prompts, groups = [g.prompt for g in chosen], [g.completions for g in chosen]
    by_prm, by_orm = (values_of(m, prompts, groups, by_step=m is prm) for m in (prm, orm))
    after_rl = rule.copy()
    sampled_after_rl = after_rl.answer(held_out, sizes.samples, derive_seed("test", seed))
    n, v, each_rl = sizes.samples, sizes.voters, after_rl.compute.passes / len(held_out) / sizes.samples
    arms = {
        "one sample": Arm(0, each, rate(voting)),
        f"majority vote of {2 * n}": Arm(0, 2 * n * each, votes(voting, 2 * n)),
        f"majority vote of {v}": Arm(0, v * each, votes(voting, v)),
        f"best of {n} by PRM": Arm(budget, 2 * n * each, best_of(by_prm, chosen, n)),
        f"best of {n} by ORM": Arm(orm_cost, 2 * n * each, best_of(by_orm, chosen, n)),
        "RL, one sample": Arm(rule.compute.passes, each_rl, rate(sampled_after_rl)),
        f"RL, majority vote of {n}": Arm(rule.compute.passes, n * each_rl, votes(sampled_after_rl, n)),
    }
    curve = {
        k: {
            "PRM": fmean(best_of(by_prm, chosen, k)),
            "ORM": fmean(best_of(by_orm, chosen, k)),
            "majority vote": fmean(votes(voting, k)),
            "pass@N": fmean(pass_at_k(v, sum(g.right), k) for g in voting),
        }
        for k in (2**i for i in range(n.bit_length()))
    }
    labels = {"solutions": len(examples), "steps": sum(len(e.ends) for e in examples), "outcomes of the ORM": count}
    rl = {
        "rule": {"steps": by_rule, "accuracy": fmean(rate(sampled_after_rl))},
        "PRM": reward_hacking(start, prm, train, held_out, steps, seed),
    }
    return {"arms": {name: asdict(arm) for name, arm in arms.items()}, "curve": curve, "labels": labels, "rl": rl}


def outcome_model(start: Actor, train: Sequence[Problem], budget: int, seed: int) -> tuple[ValueModel, int, int]:
    """Train an ORM with the compute that the PRM took. Return it, its compute, and the number of its solutions."""
    actor = start.copy()
    answered: list[Graded] = []
    size = max(1, len(train) // 8)
    model = ValueModel(actor)
    per_token = 1 + 3 * SETTINGS.epochs  # sampled once, trained on in every epoch
    for first in range(0, len(train), size):
        answered += actor.answer(train[first : first + size], 1, derive_seed("outcomes", seed, first))
        if per_token * actor.compute.generated >= budget:
            break
    model.fit(outcomes(answered), seed)
    return model, actor.compute.passes, len(answered)


def reward_hacking(
    start: Actor, prm: ValueModel, train: Sequence[Problem], held_out: Sequence[Problem], steps: int, seed: int
) -> dict[str, Any]:
    """Train with the PRM + format as rewards; return the metrics of the steps, and how the result does."""
    actor = start.copy()

    def by_prm(prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]], scored: Scores) -> Tensor:
        well_formed_PG = torch.tensor([[score.parts["format"] for score in group] for group in scored])
        return values_of(prm, prompts, groups) + well_formed_PG

    rows = actor.reinforce(train, steps, derive_seed("rl", seed), by_prm)
    answered = actor.answer(held_out, 4, derive_seed("test", seed))
    believed = values_of(prm, [g.prompt for g in answered], [g.completions for g in answered])
    examples = [f"{g.prompt.problem.question} -> {g.completions[0].text}" for g in answered[:: len(answered) // 3]]
    return {"steps": rows, "accuracy": fmean(rate(answered)), "value": float(believed.mean()), "examples": examples}


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of all seeds as Markdown."""
    rewards = {
        name: [
            {"reward": row["reward"], "accuracy": row["accuracy"], "tokens": row["length"]}
            for row in mean_rows([result["rl"][name]["steps"] for result in results])
        ]
        for name in ("rule", "PRM")
    }
    lines = [["reward of RL", "step", "mean reward", "accuracy", "tokens"], ["---", *["---:"] * 4]]
    for name, rows in rewards.items():
        for step in (1, len(rows) // 2 + 1, len(rows)):
            lines.append([name, str(step), *(f"{value:.2f}" for value in rows[step - 1].values())])
    n = ", ".join(f"{label} {count:,}" for label, count in results[0]["labels"].items())
    return "\n\n".join(
        [
            f"Labels (first seed): {n}.",
            arm_table([result["arms"] for result in results]),
            "Accuracy of the best of N samples, by what chooses it:",
            curve_table([result["curve"] for result in results], "N"),
            "The PRM as the reward of RL, against the rule, for the same number of steps:",
            markdown(lines),
        ]
    )


if __name__ == "__main__":
    main("prm", study, page, Sizes(), TINY)

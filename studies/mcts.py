"""Monte Carlo tree search against its simple rivals, at equal compute (paper, "Unsuccessful Attempts").

python studies/mcts.py --seeds 0 1 2

1. Train R1-Zero on sprout-base for a while: the actor of all that follows.
2. Train a value model on solutions of the actor.
3. Search held-out problems with both (`tree.py`), with several expansion limits, and compare with majority voting.
4. Iterate as the paper describes: search training problems, train the actor on the right answers that were found and
   the value model on the values of the trees.
5. With the compute of 2 and 4, train the actor by rejection sampling (the same without a tree), or by RL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from actor import TRAINING, Actor, Branch, Graded, problems, rate, started, votes
from study import Arm, arm_table, curve_table, main
from tree import Node, chosen_is_right, finished, search
from value import Example, ValueModel, best_of, step_ends, values_of

from r1kit.config import SFT
from r1kit.data.prompt import Prompt
from r1kit.evals.metrics import pass_at_k
from r1kit.hashing import derive_seed
from r1kit.types import Problem

KEPT = 2  # right solutions of a problem that the actor is trained on, and at most twice as many for the value model
IMITATION = SFT(
    kind="sft",
    model="actor",
    data=["answers"],
    epochs=2,
    sequences_per_step=32,
    learning_rate=3e-4,
    lr_scheduler_type="linear",
)


@dataclass(frozen=True)
class Sizes:
    """How much is computed. Problems are counted for each of the three families."""

    start_steps: int = 25  # of RL before the study begins
    start_prompts: int = 32  # in each of these
    prompts_per_step: int = 16  # of the RL that is compared
    pretraining: int = 100  # problems, with 4 solutions each, for the value model
    iterations: int = 2
    problems: int = 60  # of each iteration
    width: int = 4  # expansion limit in training
    nodes: int = 64  # of a tree, at most: width x simulations
    widths: tuple[int, ...] = (2, 4, 8)  # expansion limits on held-out problems
    held_out: int = 50
    samples: int = 8  # of a majority vote after training


TINY = Sizes(
    1,
    start_prompts=2,
    prompts_per_step=2,
    pretraining=2,
    iterations=1,
    problems=2,
    nodes=8,
    widths=(2, 4),
    held_out=2,
    samples=2,
)


def pretrained_value(actor: Actor, pool: Sequence[Problem], seed: int) -> ValueModel:
    """Train a value model on solutions: the target of each step is whether its solution is right."""
    examples = []
    for group in actor.answer(pool, 4, derive_seed("pretraining", seed)):
        for completion, right in zip(group.completions, group.right, strict=True):
            ends = step_ends(completion.token_ids, actor.tokenizer)
            branch = Branch(group.prompt, completion.token_ids)
            examples.append(Example(branch, ends, [float(right)] * len(ends)))
    model = ValueModel(actor)
    model.fit(examples, seed)
    return model


def lessons(prompt: Prompt, root: Node) -> tuple[list[Branch], list[Example]]:
    """Return the solutions of a tree that the actor learns, and the paths that the value model learns."""
    nodes, answered = finished(prompt, root)
    ranked = sorted(zip(nodes, answered.right, strict=True), key=lambda pair: -pair[0].visits)
    solutions = [Branch(prompt, node.tokens) for node, right in ranked if right][:KEPT]
    paths = [node.path() for node, _ in ranked[: 2 * KEPT]]
    examples = [
        Example(Branch(prompt, path[-1].tokens), [len(n.tokens) for n in path], [n.value for n in path])
        for path in paths
    ]
    return solutions, examples


def iterate(actor: Actor, model: ValueModel, pool: Sequence[Sequence[Problem]], sizes: Sizes, seed: int) -> list[int]:
    """Search, then train actor and value model on what was found; once for each part of the pool.

    Return how many problems of each part were solved.
    """
    solved = []
    for number, part in enumerate(pool):
        prompts = actor.prompts(part)
        seed_of_part = derive_seed("iteration", seed, number)
        simulations = sizes.nodes // sizes.width
        roots = search(actor, model, prompts, sizes.width, simulations, seed_of_part, knows_answers=True)
        found = [lessons(prompt, root) for prompt, root in zip(prompts, roots, strict=True)]
        model.fit([example for _, examples in found for example in examples], seed_of_part)
        solved.append(sum(bool(solutions) for solutions, _ in found))
        if records := [branch for solutions, _ in found for branch in solutions]:
            actor.imitate(records, IMITATION, seed_of_part)
    return solved


def rejection_sampling(actor: Actor, pool: Sequence[Problem], iterations: int, budget: int, seed: int) -> None:
    """Sample and train on right solutions, KEPT of each problem; spend `budget` in equal iterations."""
    size, used = max(1, len(pool) // 50), 0
    for number in range(iterations):
        records: list[Branch] = []
        cost = 0
        while actor.compute.passes + cost < budget * (number + 1) / iterations:
            part = [pool[(used + i) % len(pool)] for i in range(size)]
            for group in actor.answer(part, 8, derive_seed("rejection", seed, used)):
                records += right_solutions(group)
            used += size
            cost = 3 * IMITATION.epochs * sum(len(branch.tokens) for branch in records)
        if records:
            actor.imitate(records, IMITATION, derive_seed("imitation", seed, number))


def right_solutions(group: Graded) -> list[Branch]:
    """Return the first KEPT distinct right solutions."""
    right = [c.token_ids for c, is_right in zip(group.completions, group.right, strict=True) if is_right]
    return [Branch(group.prompt, tokens) for tokens in list(dict.fromkeys(right))[:KEPT]]


def searched(
    start: Actor, model: ValueModel, held_out: Sequence[Problem], width: int, sizes: Sizes, seed: int
) -> tuple[float, list[float], float]:
    """Search held-out problems.

    Return the compute per question, whether each answer is right, and the share of trees that have a right answer.
    """
    actor = start.copy()
    model.compute = actor.compute
    prompts = actor.prompts(held_out)
    roots = search(actor, model, prompts, width, sizes.nodes // width, derive_seed("test", seed), knows_answers=False)
    pairs = list(zip(prompts, roots, strict=True))
    reached = fmean(any(finished(*pair)[1].right) for pair in pairs)
    return actor.compute.passes / len(held_out), [chosen_is_right(*pair) for pair in pairs], reached


def at_inference(
    start: Actor, model: ValueModel, held_out: Sequence[Problem], sizes: Sizes, seed: int
) -> tuple[dict[str, Arm], dict[int, dict[str, float]]]:
    """Compare search with its rivals at the compute of one question. Return the arms, and shares by expansion limit."""
    arms: dict[str, Arm] = {}
    limits = {}
    training, sampler = model.compute, start.copy()
    answered = sampler.answer(held_out, sizes.nodes, derive_seed("test", seed))
    each = sampler.compute.passes / len(held_out) / sizes.nodes
    model.compute = sampler.compute  # not that of training
    values = values_of(model, [g.prompt for g in answered], [g.completions for g in answered], by_step=False)
    arms["one sample"] = Arm(0, each, rate(answered))
    for width in sizes.widths:
        compute, accuracy, reached = searched(start, model, held_out, width, sizes, seed)
        arms[f"search, expansion limit {width}"] = Arm(training.passes, compute, accuracy)
        n = max(1, min(sizes.nodes, round(compute / each)))
        limits[width] = {
            "answer by search": fmean(accuracy),
            "right answer in the tree": reached,
            "right answer among samples": fmean(pass_at_k(sizes.nodes, sum(g.right), n) for g in answered),
        }
        if width == sizes.width:  # as many samples as cost the same
            best = max(1, n // 2)  # each is read by the value model, which costs as much
            chosen = best_of(values, answered, best)
            arms["as many samples, best by the value model"] = Arm(training.passes, 2 * best * each, chosen)
            arms["as many samples, majority vote"] = Arm(0, n * each, votes(answered, n))
    model.compute = training
    return arms, limits


def study(seed: int, sizes: Sizes) -> dict[str, Any]:
    """Run the study with one seed; return what `page` shows."""
    train, held_out = problems("train", TRAINING), problems("held_out", sizes.held_out)
    size = sizes.prompts_per_step
    start, cost = started(seed, sizes.start_steps, sizes.start_prompts, prompts_per_step=size)

    actor = start.copy()
    model = pretrained_value(actor, problems("train", sizes.pretraining), seed)
    arms, limits = at_inference(start, model, held_out, sizes, seed)

    pool = problems("train", sizes.iterations * sizes.problems)
    solved = iterate(actor, model, [pool[i :: sizes.iterations] for i in range(sizes.iterations)], sizes, seed)
    budget = actor.compute.passes
    rejection, rl = start.copy(), start.copy()
    rejection_sampling(rejection, train, sizes.iterations, budget, seed)
    rl.reinforce(train, max(1, round(budget / cost / size)), derive_seed("rl", seed))
    for name, trained in {"search": actor, "rejection sampling": rejection, "RL": rl}.items():
        spent, n = trained.compute.passes, sizes.samples
        sampler = trained.copy()
        answered = sampler.answer(held_out, n, derive_seed("test", seed))
        each = sampler.compute.passes / len(held_out) / n
        arms[f"trained by {name}, one sample"] = Arm(spent, each, rate(answered))
        arms[f"trained by {name}, majority vote of {n}"] = Arm(spent, n * each, votes(answered, n))
    return {"arms": {name: asdict(arm) for name, arm in arms.items()}, "limits": limits, "solved": solved}


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of all seeds as Markdown."""
    return "\n\n".join(
        [
            arm_table([result["arms"] for result in results]),
            "By expansion limit: held-out problems that search answers, whose tree has a right answer, and that have "
            "one among as many samples as the tree costs:",
            curve_table([result["limits"] for result in results], "expansion limit"),
            f"Training problems solved in each iteration (first seed): {', '.join(map(str, results[0]['solved']))}.",
        ]
    )


if __name__ == "__main__":
    main("mcts", study, page, Sizes(), TINY)

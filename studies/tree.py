"""Monte Carlo tree search over reasoning steps, in many trees at a time.

A node is the beginning of a completion, and a step is a line with words. One simulation of a tree:

    select   from the root, go to the child with the highest upper confidence bound (UCT) until a node without children
    expand   sample the next step `width` times; this is the expansion limit: a node is expanded once
    evaluate each new node with the value model; an answer, where it is known what is right, by rule
    back up  the values to all ancestors
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from actor import MAX_TOKENS, Actor, Branch, Graded, graded, scores
from value import TAG, Example, ValueModel

from r1kit.data.prompt import Prompt
from r1kit.data.response import has_words
from r1kit.hashing import derive_seed
from r1kit.types import Completion

EMPTY_LINES = 3  # at most, in front of a step
EXPLORATION = 0.5  # weight of the confidence bound; values lie between 0 and 1


@dataclass(eq=False, slots=True)
class Node:
    """The beginning of a completion."""

    completion: Completion | None = None  # None at the root
    parent: Node | None = None
    is_end: bool = False  # the completion is finished, or as long as allowed
    visits: int = 0
    total: float = 0.0  # sum of the values of all visits
    children: list[Node] = field(default_factory=list)

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens from the root."""
        return self.completion.token_ids if self.completion is not None else ()

    @property
    def value(self) -> float:
        """Mean value of the visits."""
        return self.total / self.visits

    def bound(self) -> float:
        """Upper confidence bound of the value (Kocsis and Szepesvári 2006)."""
        assert self.parent is not None
        return self.value + EXPLORATION * math.sqrt(math.log(self.parent.visits) / self.visits)

    def add(self, value: float) -> None:
        """Count a visit here and at all ancestors."""
        node: Node | None = self
        while node is not None:
            node.visits, node.total, node = node.visits + 1, node.total + value, node.parent

    def path(self) -> list[Node]:
        """Return the nodes below the root that lead here."""
        return [*self.parent.path(), self] if self.parent is not None else []

    def ends(self) -> Iterator[Node]:
        """Yield the finished completions below."""
        if self.is_end:
            yield self
        for child in self.children:
            yield from child.ends()


def search(
    actor: Actor,
    model: ValueModel,
    prompts: Sequence[Prompt],
    width: int,
    simulations: int,
    seed: int,
    knows_answers: bool,
) -> list[Node]:
    """Search a tree for each prompt; return the roots.

    Args:
        actor: Samples the steps.
        model: Estimates values.
        prompts: The problems.
        width: Most children of a node.
        simulations: Of each tree.
        seed: Of the samples.
        knows_answers: Whether finished completions are graded, as in training; else their value is an estimate too.
    """
    roots = [Node() for _ in prompts]
    for simulation in range(simulations):
        leaves = list(map(_select, roots))
        for leaf in leaves:
            if leaf.is_end:
                leaf.add(leaf.value)
        chosen = [(prompt, leaf) for prompt, leaf in zip(prompts, leaves, strict=True) if not leaf.is_end]
        branches = [Branch(prompt, leaf.tokens) for prompt, leaf in chosen]
        groups = _next_steps(actor, branches, width, derive_seed("search", seed, simulation))
        for (_, leaf), group in zip(chosen, groups, strict=True):
            distinct = {completion.token_ids: completion for completion in group}.values()
            leaf.children = [Node(c, leaf, is_end=_is_finished(c, actor)) for c in distinct]
        _evaluate(model, [(prompt, node) for prompt, leaf in chosen for node in leaf.children], knows_answers)
    return roots


def _select(root: Node) -> Node:
    node = root
    while node.children:
        node = max(node.children, key=Node.bound)
    return node


def _next_steps(actor: Actor, branches: Sequence[Branch], width: int, seed: int) -> list[list[Completion]]:
    """Sample the next step of each branch `width` times. A line without words belongs to the step after it."""
    groups = actor.complete(branches, width, seed, stop=("\n",))

    def is_step(branch: Branch, completion: Completion) -> bool:
        new = actor.tokenizer.decode(completion.token_ids[len(branch.tokens) :], skip_special_tokens=True)
        return _is_finished(completion, actor) or has_words(TAG.sub("", new))

    for sample in range(width):  # equal branches would get equal completions in one call
        for line in range(EMPTY_LINES):
            short = [i for i, branch in enumerate(branches) if not is_step(branch, groups[i][sample])]
            begun = [Branch(branches[i].prompt, groups[i][sample].token_ids) for i in short]
            longer = actor.complete(begun, 1, derive_seed("line", seed, sample, line), stop=("\n",)) if begun else []
            for i, (completion,) in zip(short, longer, strict=True):
                groups[i][sample] = completion
    return groups


def _is_finished(completion: Completion, actor: Actor) -> bool:
    return completion.token_ids[-1] == actor.tokenizer.eos_token_id or len(completion.token_ids) >= MAX_TOKENS


def _evaluate(model: ValueModel, nodes: Sequence[tuple[Prompt, Node]], knows_answers: bool) -> None:
    finished = [pair for pair in nodes if knows_answers and pair[1].is_end]
    groups = [[node.completion] for _, node in finished if node.completion is not None]
    for (_, node), (score,) in zip(finished, scores([prompt for prompt, _ in finished], groups), strict=True):
        node.add(score.parts["accuracy"])
    others = [pair for pair in nodes if not (knows_answers and pair[1].is_end)]
    examples = [
        Example(Branch(prompt, node.tokens), [len(node.tokens)], known=len(node.parent.tokens) if node.parent else 0)
        for prompt, node in others
    ]
    for (_, node), (value,) in zip(others, model.values(examples), strict=True):
        node.add(value)


def finished(prompt: Prompt, root: Node) -> tuple[list[Node], Graded]:
    """Return the finished completions of a tree, and their grades."""
    nodes = list(root.ends())
    completions = [node.completion for node in nodes if node.completion is not None]
    return nodes, graded(prompt, completions, scores([prompt], [completions])[0])


def chosen_is_right(prompt: Prompt, root: Node) -> float:
    """Return whether the answer with the highest sum of values is right; 0 without an answer."""
    nodes, answered = finished(prompt, root)
    weights: defaultdict[str, float] = defaultdict(float)
    for node, answer in zip(nodes, answered.answers, strict=True):
        if answer is not None:
            weights[answer] += node.value
    if not weights:
        return 0.0
    return float(answered.right[answered.answers.index(max(weights, key=weights.__getitem__))])

"""A value model: the policy's architecture with a scalar head, read at any token of a completion.

With targets at the end of every step it is a process reward model, with one at the end of a completion an outcome
reward model, and with those of a search tree the value model of Monte Carlo tree search.

Shapes: T tokens of a packed row, N positions that are read, P prompts, G completions, C choices among n completions.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from actor import Actor, Branch, Graded, document, fit
from torch import Tensor

from r1kit.config import SFT
from r1kit.data.pack import Document, PackedRow, first_fit, pack
from r1kit.data.prompt import Prompt
from r1kit.data.response import has_words
from r1kit.data.template import encode_prompt
from r1kit.learn.next_token import hidden_states
from r1kit.model.reward_model import reward_model_from
from r1kit.types import Completion

ROW_TOKENS = 16_384  # of a forward pass
TAG = re.compile(r"</?\w+>")
SETTINGS = SFT(
    kind="sft",
    model="value",
    data=["labels"],
    epochs=3,
    sequences_per_step=32,
    learning_rate=5e-4,
    lr_scheduler_type="linear",
)


class Example(NamedTuple):
    """A completion, or its first tokens, and where its value is read."""

    branch: Branch
    ends: Sequence[int]  # numbers of tokens
    targets: Sequence[float] = ()  # probabilities of a right answer, one for each end
    known: int = 0  # tokens that were read before, and that a cache would hold


class ValueModel:
    """Estimates the probability that a completion that begins so ends in the right answer."""

    def __init__(self, actor: Actor) -> None:
        """Start from the actor's weights. What the model computes is added to `actor.compute`."""
        self.model = reward_model_from(copy.deepcopy(actor.model), {})
        self.tokenizer, self.compute = actor.tokenizer, actor.compute

    def fit(self, examples: Sequence[Example], seed: int) -> None:
        """Train with binary cross-entropy on the targets, which may lie between 0 and 1."""

        def loss(row: PackedRow, chosen: list[int]) -> tuple[Tensor, int]:
            batch = [examples[i] for i in chosen]
            targets_N = torch.tensor([target for example in batch for target in example.targets])
            total = F.binary_cross_entropy_with_logits(self._logits(row, batch), targets_N, reduction="sum")
            return total, len(targets_N)

        fit(self.model, [self._document(example.branch) for example in examples], loss, SETTINGS, seed)
        self.compute.trained += SETTINGS.epochs * sum(len(example.branch.tokens) for example in examples)

    @torch.inference_mode()
    def values(self, examples: Sequence[Example]) -> list[list[float]]:
        """Return the value at every end of each example."""
        documents = [self._document(example.branch) for example in examples]
        values: dict[int, list[float]] = {}
        for row in first_fit(list(map(len, documents)), ROW_TOKENS):
            logits_N = self._logits(pack([documents[i] for i in row]), [examples[i] for i in row])
            pieces = torch.split(logits_N.sigmoid(), [len(examples[i].ends) for i in row])
            values |= {i: piece.tolist() for i, piece in zip(row, pieces, strict=True)}
        self.compute.scored += sum(len(example.branch.tokens) - example.known for example in examples)
        return [values[i] for i in range(len(examples))]

    def _question(self, branch: Branch) -> list[int]:
        return encode_prompt(f"{branch.prompt.problem.question}\n", self.tokenizer)  # shorter than the prompt

    def _document(self, branch: Branch) -> Document:
        return document(self._question(branch), branch.tokens)

    def _logits(self, row: PackedRow, batch: Sequence[Example]) -> Tensor:
        starts = torch.tensor([0, *row.lengths]).cumsum(0).tolist()
        last = [
            start + len(self._question(example.branch)) + end - 1
            for start, example in zip(starts, batch, strict=False)
            for end in example.ends
        ]
        return self.model.scores(hidden_states(self.model, row), torch.tensor(last))


def step_ends(tokens: Sequence[int], tokenizer: object) -> list[int]:
    """Return the number of tokens up to the end of each step; the last is that of the completion.

    A step is a line, or a part of one in front of a closing tag. Lines without words belong to the next step.
    """
    pieces = [tokenizer.decode([token], skip_special_tokens=True) for token in tokens]
    ends, text = [], ""
    for end, (piece, following) in enumerate(zip(pieces, [*pieces[1:], ""], strict=True), start=1):
        text += piece
        if ("\n" in piece or following.lstrip().startswith("</")) and has_words(TAG.sub("", text)):
            ends.append(end)
            text = ""
    if ends and not has_words(TAG.sub("", text)):
        ends.pop()
    return [*ends, len(tokens)]


def values_of(
    model: ValueModel, prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]], by_step: bool = True
) -> Tensor:
    """Return the value of each completion [P, G]: that of its worst step, or else that of its end."""
    examples = [
        Example(Branch(prompt, c.token_ids), step_ends(c.token_ids, model.tokenizer) if by_step else [len(c.token_ids)])
        for prompt, group in zip(prompts, groups, strict=True)
        for c in group
    ]
    return torch.tensor([min(each) for each in model.values(examples)]).view(len(groups), -1)


def best_of(values_PG: Tensor, answered: Sequence[Graded], n: int) -> list[float]:
    """Return for each problem how often the sample with the highest value is right, among n at a time."""
    right_PG = torch.tensor([group.right for group in answered]).float()
    used = values_PG.shape[1] // n * n
    values_PCn, right_PCn = (x[:, :used].unflatten(1, (-1, n)) for x in (values_PG, right_PG))
    return right_PCn.gather(2, values_PCn.argmax(2, keepdim=True)).mean((1, 2)).tolist()

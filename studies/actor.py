"""A policy that the studies sample, grade and train, and the compute that this takes.

Shapes: P prompts, G completions of each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from r1kit.config import RL, SFT
from r1kit.data.pack import Document, PackedRow, pack
from r1kit.data.prompt import Prompt, make_prompts
from r1kit.data.template import set_template
from r1kit.data.worlds import FAMILIES, world_problems
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import make_engine
from r1kit.evals.metrics import cons_at_k
from r1kit.evals.votes import group_answers
from r1kit.hashing import derive_seed
from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.learn.next_token import answer_loss
from r1kit.learn.optim import learning_rate, make_optimizer, update
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.model.policy import Policy
from r1kit.model.reference import resolve_model
from r1kit.recipe import load_recipe
from r1kit.rollout.score import ACCURACY_AND_FORMAT, score_groups
from r1kit.types import Completion, Problem, Score

MAX_TOKENS = 160  # of a completion, as in the recipe sprout-zero
MAX_CONCURRENT = 512
TRAINING = 1_500  # problems of each family to train on


@dataclass(slots=True)
class Compute:
    """Tokens that models processed, without prompts and prefixes: a prefix cache keeps these."""

    generated: int = 0
    scored: int = 0  # by a reward or value model, or by the reference model of RL
    trained: int = 0

    @property
    def passes(self) -> int:
        """Forward passes of one token; training costs three, as a backward pass costs two."""
        return self.generated + self.scored + 3 * self.trained


class Branch(NamedTuple):
    """A prompt and the first tokens of a completion."""

    prompt: Prompt
    tokens: tuple[int, ...] = ()


class Graded(NamedTuple):
    """The completions of a prompt, with one entry for each in all lists."""

    prompt: Prompt
    completions: list[Completion]
    right: list[bool]
    answers: tuple[str | None, ...]  # equal answers are equal texts; None has no vote


Scores = list[list[Score]]  # by rule: accuracy and format
Reward = Callable[[Sequence[Prompt], Sequence[Sequence[Completion]], Scores], Tensor]  # -> [P, G]


def by_rule(prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]], scored: Scores) -> Tensor:
    """Return the paper's rewards for R1-Zero (eq. 4): accuracy + format."""
    return torch.tensor([[score.total for score in group] for group in scored])


class Actor:
    """A policy with an engine that samples from it. `settings` are those of the RL stage in the recipe sprout-zero."""

    def __init__(self, model: Policy, tokenizer: Any, **changes: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.engine = make_engine(model, tokenizer, MAX_CONCURRENT)
        self.settings = RL.model_validate({**load_recipe("sprout-zero").stage["zero"].model_dump(), **changes})
        self.changes = changes
        self.compute = Compute()

    @classmethod
    def load(cls, name: str, **changes: Any) -> Actor:
        """Load a checkpoint; `changes` are keys of the RL stage."""
        directory = resolve_model(name)
        tokenizer, model = load_tokenizer(directory), load_model(directory, torch.float32, "cpu")
        set_template(tokenizer, "r1-zero")
        return cls(model, tokenizer, **changes)

    def copy(self) -> Actor:
        """Return an actor with the same weights that has computed nothing yet."""
        return Actor(copy.deepcopy(self.model), self.tokenizer, **self.changes)

    def prompts(self, problems: Sequence[Problem]) -> list[Prompt]:
        """Return the problems in the R1-Zero template."""
        return make_prompts(problems, self.settings, self.tokenizer)

    def complete(
        self, branches: Sequence[Branch], samples: int, seed: int, stop: tuple[str, ...] = ()
    ) -> list[list[Completion]]:
        """Return `samples` completions of each branch, with its tokens. Equal branches get equal completions."""
        requests = [
            Request(f"{prompt.problem.id}:{derive_seed(*tokens)}", prompt.token_ids + tokens, samples)
            for prompt, tokens in branches
        ]
        drawn = iter(self.engine.generate(requests, SamplingParams(seed, MAX_TOKENS, stop=stop)))
        return [[self._joined(branch, next(drawn)) for _ in range(samples)] for branch in branches]

    def _joined(self, branch: Branch, drawn: Completion) -> Completion:
        self.compute.generated += len(drawn.token_ids)
        if not branch.tokens:
            return drawn
        token_ids = branch.tokens + drawn.token_ids
        text = self.tokenizer.decode(token_ids, skip_special_tokens=True)
        return replace(drawn, token_ids=token_ids, logprobs=(), text=text)

    def answer(self, problems: Sequence[Problem], samples: int, seed: int) -> list[Graded]:
        """Sample and grade `samples` completions of every problem."""
        prompts = self.prompts(problems)
        groups = self.complete([Branch(prompt) for prompt in prompts], samples, seed)
        return [graded(*each) for each in zip(prompts, groups, scores(prompts, groups), strict=True)]

    def reinforce(
        self, problems: Sequence[Problem], steps: int, seed: int, reward: Reward = by_rule
    ) -> list[dict[str, float]]:
        """Train with GRPO for `steps` updates and return their metrics."""
        config = self.settings.model_copy(update={"steps": steps})
        learner = Learner(self.model, config)
        order = Random(derive_seed("order", seed)).sample(problems, len(problems))
        rows, size = [], config.prompts_per_step
        for step in range(steps):
            before = self.compute.passes
            prompts = self.prompts([order[(step * size + i) % len(order)] for i in range(size)])
            seed_of_step = derive_seed("rollout", seed, step)
            groups = self.complete([Branch(prompt) for prompt in prompts], config.num_generations, seed_of_step)
            scored = scores(prompts, groups)
            rewards_PG = reward(prompts, groups, scored)
            self._update(learner, prompts, groups, rewards_PG, step)
            rows.append(
                {
                    "step": step,
                    "reward": float(rewards_PG.mean()),
                    "accuracy": fmean(score.parts["accuracy"] for group in scored for score in group),
                    "length": fmean(len(c.token_ids) for group in groups for c in group),
                    "compute": self.compute.passes - before,
                }
            )
        return rows

    def _update(
        self,
        learner: Learner,
        prompts: Sequence[Prompt],
        groups: Sequence[Sequence[Completion]],
        rewards_PG: Tensor,
        step: int,
    ) -> None:
        token_ids = [prompt.token_ids for prompt in prompts]
        batch = make_batch(token_ids, groups, group_advantages(rewards_PG), temperature=1.0, mask_truncated=False)
        learner.step(batch, step)
        is_first_B = batch.duplicate_of_B == torch.arange(len(batch.advantages_B))
        varies_B = rewards_PG.std(1).repeat_interleave(rewards_PG.shape[1]) > 0  # the recipe skips the others
        tokens = int(batch.completion_mask_BT[is_first_B & varies_B].sum())
        self.compute.trained += tokens
        self.compute.scored += tokens

    def imitate(self, branches: Sequence[Branch], settings: SFT, seed: int) -> None:
        """Train on complete completions (SFT)."""
        documents = [document(prompt.token_ids, tokens) for prompt, tokens in branches]
        fit(self.model, documents, lambda row, _: (answer_loss(self.model, row), row.count), settings, seed)
        self.compute.trained += settings.epochs * sum(len(branch.tokens) for branch in branches)


def started(seed: int, steps: int, prompts: int, **changes: Any) -> tuple[Actor, float]:
    """Train R1-Zero on sprout-base for some steps. Return the actor, and the compute of RL for each prompt.

    Args:
        seed: The seed of the study.
        steps: Updates, at a constant learning rate: this is the beginning of a longer training.
        prompts: In each of these updates.
        changes: Keys of later RL with the actor that differ from sprout-zero.
    """
    actor = Actor.load("sprout-base", lr_scheduler_type="constant", prompts_per_step=prompts)
    rows = actor.reinforce(problems("train", TRAINING), steps, derive_seed("start", seed))
    cost = fmean(row["compute"] for row in rows[-5:]) / prompts
    return Actor(actor.model, actor.tokenizer, **changes), cost


def document(prompt: Sequence[int], tokens: Sequence[int]) -> Document:
    """Return a document whose prompt has no loss."""
    return Document(np.array([*prompt, *tokens], dtype=np.int32), len(prompt))


def fit(
    model: nn.Module,
    documents: Sequence[Document],
    loss: Callable[[PackedRow, list[int]], tuple[Tensor, int]],
    settings: SFT,
    seed: int,
) -> None:
    """Train for some epochs. `loss` returns a sum and its count, given a packed row and its documents' indices."""
    optimizer = make_optimizer(model, settings)
    size, random = settings.sequences_per_step, Random(derive_seed("fit", seed))
    orders = [random.sample(range(len(documents)), len(documents)) for _ in range(settings.epochs)]
    batches = [order[i : i + size] for order in orders for i in range(0, len(order), size)]
    for step, batch in enumerate(batches):
        total, count = loss(pack([documents[i] for i in batch]), batch)
        torch.autograd.backward(total / count)
        update(model, optimizer, learning_rate(settings, step, len(batches)), settings.max_grad_norm)


def scores(prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]]) -> Scores:
    """Grade completions by rule."""
    return score_groups(prompts, groups, ACCURACY_AND_FORMAT)


def graded(prompt: Prompt, completions: list[Completion], scored: Sequence[Score]) -> Graded:
    """Combine completions with their scores."""
    right = [score.parts["accuracy"] == 1 for score in scored]
    extracted = [score.extracted if score.readable else None for score in scored]
    return Graded(prompt, completions, right, group_answers(prompt.problem, extracted))


def votes(answered: Sequence[Graded], n: int) -> list[float]:
    """Return for each problem the accuracy of the majority vote of n samples."""
    return [cons_at_k(group.answers, group.right, n) for group in answered]


def rate(answered: Sequence[Graded]) -> list[float]:
    """Return pass@1 of each problem."""
    return [fmean(group.right) for group in answered]


def problems(split: str, limit: int) -> list[Problem]:
    """Return up to `limit` problems of each of the families that have levels, in an order that mixes these."""
    families = [world_problems(name, split, limit=limit) for name in FAMILIES]
    return sorted((problem for family in families for problem in family), key=lambda problem: problem.id)

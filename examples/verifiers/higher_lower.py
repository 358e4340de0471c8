"""A user who thinks of a number, as an environment of the package verifiers. Nothing here knows r1kit."""

from __future__ import annotations

import random
import re

import verifiers as vf
from datasets import Dataset


class HigherLower(vf.MultiTurnEnv):
    """Says "higher" or "lower" until the number is guessed."""

    async def env_response(self, messages: vf.Messages, state: vf.State, **kwargs: object) -> vf.Messages:
        """Answer the last guess."""
        guess = guess_in(messages[-1].content)
        if guess is None:
            return [vf.UserMessage(content="Say a number.")]
        return [vf.UserMessage(content="higher" if guess < int(state["answer"]) else "lower")]

    @vf.stop
    async def guessed(self, state: vf.State) -> bool:
        """End the rollout with the right guess."""
        return bool(state["trajectory"]) and last_guess(state) == int(state["answer"])


def guess_in(text: str) -> int | None:
    """Return the last number of a text."""
    numbers = re.findall(r"[0-9]{1,9}", text)
    return int(numbers[-1]) if numbers else None


def last_guess(state: vf.State) -> int | None:
    """Return the guess of the last turn."""
    return guess_in(state["trajectory"][-1]["completion"][-1].content)


def found(state: vf.State) -> float:
    """Reward the right guess; fewer turns are better."""
    return float(last_guess(state) == int(state["answer"])) / len(state["trajectory"]) ** 0.5


def rows(count: int, seed: int) -> Dataset:
    """Return questions with hidden numbers."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        low = rng.randint(1, 99)
        high = low + rng.randint(3, 62)
        question = f"I think of a number from {low} to {high}. Guess it."
        made.append({"question": question, "answer": str(rng.randint(low, high))})
    return Dataset.from_list(made)


def load_environment(problems: int = 2000) -> vf.Environment:
    """Return the environment, as `vf.load_environment` calls it."""
    return HigherLower(
        dataset=rows(problems, seed=0), eval_dataset=rows(100, seed=1), rubric=vf.Rubric(funcs=[found]), max_turns=6
    )

"""A trained reward model as a reward of an RL stage, for answers that no rule can check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from r1kit.data.examples import encode, scored_parts
from r1kit.data.pack import first_fit, pack
from r1kit.data.template import render_prompt
from r1kit.learn.preference_loss import document_scores
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_tokenizer
from r1kit.model.reward_model import load_reward_model

ROW_TOKENS = 16_384  # per forward pass; a longer answer is a row by itself, as the paper sets no limit
NO_SUMMARY = -3.0  # standard deviations: an answer without the scored part is worse than nearly all others


class Answer(NamedTuple):
    """An answer to score."""

    question: str
    response: str  # with its opening think tag
    truncated: bool = False  # cut off by the length limit


class RewardModelScorer:
    """The model of a preference stage. It reads answers as in its training: same template, same part of them."""

    def __init__(self, directory: Path, device: str, dtype: str) -> None:
        self.model = load_reward_model(directory, torch_dtype(dtype), device)
        self.tokenizer = load_tokenizer(directory)
        self.settings = self.model.settings

    def __call__(self, answers: Sequence[Answer]) -> list[float]:
        """Return the reward of every answer.

        A truncated answer is never read, and rewarded as one without a summary. The model was trained on complete
        answers (`stages.curate_review` leaves out others), and might prefer one that stops before its weak end.

        A model of pairs gives standard deviations above the mean score of its held-out answers, so that one unit
        compares with the 0 or 1 of a rule. A model of labels gives the probability of a good answer.
        """
        parts = [(i, part) for i, answer in enumerate(answers) if (part := self._parts(answer)) is not None]
        documents = list(encode((part for _, part in parts), self.tokenizer, close=False))
        rewards = [0.0 if self.settings["objective"] == "pointwise" else NO_SUMMARY] * len(answers)
        for row in first_fit(list(map(len, documents)), ROW_TOKENS):
            with torch.inference_mode():
                rewards_N = self._rewards(document_scores(self.model, pack([documents[i] for i in row])))
            for i, reward in zip(row, rewards_N.tolist(), strict=True):
                rewards[parts[i][0]] = reward
        return rewards

    def _parts(self, answer: Answer) -> tuple[str, str] | None:
        if answer.truncated:
            return None
        prompt = render_prompt(answer.question, self.settings["template"], self.tokenizer)
        return scored_parts(prompt, answer.response, self.settings["scores"])

    def _rewards(self, scores_N: Tensor) -> Tensor:
        if self.settings["objective"] == "pointwise":
            return scores_N.sigmoid()
        mean, std = float(self.settings.get("score_mean", 0.0)), float(self.settings.get("score_std", 1.0))
        return (scores_N - mean) / std

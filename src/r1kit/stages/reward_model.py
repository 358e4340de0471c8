"""A trained reward model as a reward: what an RL stage asks about answers that no rule can check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from r1kit.data.examples import encode, scored_parts
from r1kit.data.pack import first_fit, pack
from r1kit.data.template import render_prompt
from r1kit.learn.preference_loss import document_scores
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_tokenizer
from r1kit.model.reward_model import load_reward_model

ROW_TOKENS = 16_384  # scored at once; a longer answer is a row of its own, for there is no limit (paper)
NO_SUMMARY = -3.0  # standard deviations: an answer that never got to what is scored is worse than nearly all


class RewardScorer:
    """What a preference stage learned. It reads answers as in its training: under its template, its part of them."""

    def __init__(self, directory: Path, device: str, dtype: str):
        self.model = load_reward_model(directory, torch_dtype(dtype), device)
        self.tokenizer = load_tokenizer(directory)
        self.settings = self.model.settings

    def __call__(self, answers: Sequence[tuple[str, str]]) -> list[float]:
        """The reward of every (question, response); a response opens its own think tag, if it thinks.

        A model of pairs gives standard deviations above the mean of its held-out answers, so that a weight of 1 is
        about what it is for a rule's 0 or 1; a model of labels gives the probability of a good one.
        """
        parts = [self._parts(*answer) for answer in answers]
        asked = [i for i, part in enumerate(parts) if part is not None]
        documents = list(encode((parts[i] for i in asked), self.tokenizer, close=False))
        rewards = [0.0 if self.settings["objective"] == "pointwise" else NO_SUMMARY] * len(answers)
        for row in first_fit(list(map(len, documents)), ROW_TOKENS):
            with torch.inference_mode():
                found_N = self._rewards(document_scores(self.model, pack([documents[i] for i in row])))
            for i, reward in zip(row, found_N.tolist(), strict=True):
                rewards[asked[i]] = reward
        return rewards

    def _parts(self, question: str, response: str) -> tuple[str, str] | None:
        prompt = render_prompt(question, self.settings["template"], self.tokenizer)
        return scored_parts(prompt, response, self.settings["scores"])

    def _rewards(self, scores_N: Tensor) -> Tensor:
        if self.settings["objective"] == "pointwise":
            return scores_N.sigmoid()
        return (scores_N - self.settings.get("score_mean", 0.0)) / self.settings.get("score_std", 1.0)

"""The preference stage: train a reward model, a policy with a scalar head.

objective   records                        trained so that                                 paper's reward model
pairwise    (prompt, chosen, rejected)     the chosen answer has the higher score          helpful
pointwise   (prompt, response, safe)       sigmoid(score) is the probability of "safe"     safety
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.config import Preference
from r1kit.data.examples import RESPONSE_FIELDS, Row, row_prompt, row_text, scored_parts
from r1kit.data.pack import PackedRow, pack
from r1kit.data.store import DataError
from r1kit.data.template import render_prompt
from r1kit.evals.metrics import mean_ci95
from r1kit.learn.preference_loss import document_scores, label_margins, pair_margins, preference_loss
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import publish_model
from r1kit.model.policy import RewardModel
from r1kit.model.reward_model import reward_model_from
from r1kit.stages.context import StageContext
from r1kit.stages.records import Record, Texts, load_policy, load_records, load_tokenizer_with_chat
from r1kit.stages.train_loop import Schedule, train

SCALE = ("eval/score_mean", "eval/score_std")  # saved with the model: RL uses scores in standard deviations


@dataclass(frozen=True, slots=True)
class AnswerBatch:
    """A packed row of answers and their labels: one micro-batch."""

    row: PackedRow
    good: tuple[bool, ...] | None  # the label of every answer; None for pairs of chosen and rejected answers

    @property
    def count(self) -> int:
        """The number of pairs, or of labelled answers."""
        return len(self.good or self.row.lengths[::2])

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return self.row.tokens


def run(config: Preference, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. Return held-out accuracy and counts."""
    tokenizer = load_tokenizer_with_chat(config, context)
    data = load_records(config, context, tokenizer, partial(_read, config, tokenizer), close=False)
    settings = {"objective": config.objective, "scores": config.scores, "template": config.template}
    model = reward_model_from(load_policy(config, context, tokenizer), settings)
    held_out = [_answer_batch(config, row) for row in data.pack(data.held_out)]

    def source(done: int) -> Iterator[list[AnswerBatch]]:
        return ([_answer_batch(config, row) for row in rows] for rows in data.steps_from(done, context.world.size))

    schedule = Schedule(data.steps, 1, config.save_every)
    evaluation = train(model, config, context, schedule, source, loss, partial(evaluate, held_out))
    model.settings |= {key.removeprefix("eval/"): evaluation[key] for key in SCALE if key in evaluation}
    if context.world.is_first:
        publish_model(model.to(torch_dtype(context.dtype)), tokenizer, context.files.model)
    context.files.tokens.unlink(missing_ok=True)
    return {"steps": data.steps, "records": len(data.trained), "held_out": len(data.held_out), **evaluation}


def loss(model: RewardModel, batch: AnswerBatch) -> Tensor:
    """Return the loss, summed over pairs or labelled answers."""
    return preference_loss(margins(document_scores(model, batch.row), batch))


def margins(scores_N: Tensor, batch: AnswerBatch) -> Tensor:
    """Return one margin for each of `batch.count`: above 0 where the model is right."""
    if batch.good is None:
        return pair_margins(scores_N)
    return label_margins(scores_N, torch.tensor(batch.good, device=scores_N.device))


def evaluate(held_out: Sequence[AnswerBatch], model: RewardModel) -> dict[str, float]:
    """Return the loss, the accuracy with its 95 % interval, and the mean and deviation of the scores."""
    if not held_out:
        return {}
    scores = [document_scores(model, batch.row) for batch in held_out]
    all_margins = torch.cat([margins(*each) for each in zip(scores, held_out, strict=True)])
    accuracy, low, high = mean_ci95((all_margins > 0).float().tolist())
    std, mean = torch.std_mean(torch.cat(scores))
    return {
        "eval/loss": float(preference_loss(all_margins)) / len(all_margins),
        "eval/accuracy": accuracy,
        "eval/accuracy_low": low,
        "eval/accuracy_high": high,
        "eval/score_mean": float(mean),
        "eval/score_std": float(std),
    }


def _answer_batch(config: Preference, row: Sequence[Record]) -> AnswerBatch:
    documents = [document for record in row for document in record.documents]
    labels = None if config.objective == "pairwise" else tuple(record.label for record in row)
    return AnswerBatch(pack(documents), labels)


def _read(config: Preference, tokenizer: PreTrainedTokenizerBase, row: Row, where: str) -> Texts:
    question, label = row_prompt(row, where), True
    if config.objective == "pairwise":
        responses = [row_text(row, (name,), where) for name in ("chosen", "rejected")]
    else:
        responses, label = [row_text(row, RESPONSE_FIELDS, where)], _safety_label(row, where)
    prompt = render_prompt(question, config.template, tokenizer)
    answers = []
    for response in responses:
        if (parts := scored_parts(prompt, response, config.scores)) is None:
            raise DataError(f"{where}: an answer has no summary after its thinking to score: delete this row")
        answers.append(parts)
    return Texts(question, answers, label)


def _safety_label(row: Row, where: str) -> bool:
    label = row.get("safe")
    if not isinstance(label, bool):
        raise DataError(f"{where}: safe = {label!r}: must be true or false")
    return label

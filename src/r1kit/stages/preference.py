"""The preference stage: a reward model, the policy with a scalar head.

pairwise    (prompt, chosen, rejected): the chosen answer is to score higher    the paper's helpful reward model
pointwise   (prompt, response, safe): the score's sigmoid is the chance of safe the paper's safety reward model
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
from r1kit.model.hf import publish_model
from r1kit.model.reward_model import RewardModel, reward_model_from
from r1kit.stages.context import StageContext
from r1kit.stages.loop import Rhythm, train
from r1kit.stages.records import Record, Texts, load_own_tokenizer, load_policy, load_supply

SCALE = ("eval/score_mean", "eval/score_std")  # kept with the model: RL reads scores in standard deviations


@dataclass(frozen=True, slots=True)
class Judged:
    """A packed row of answers and what is known of them."""

    row: PackedRow
    good: tuple[bool, ...] | None  # of every answer; None where they come in pairs, chosen and rejected

    @property
    def count(self) -> int:
        """Pairs, or labelled answers."""
        return len(self.good or self.row.lengths[::2])

    @property
    def tokens(self) -> int:
        return self.row.tokens


def run(config: Preference, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. The summary holds held-out accuracy."""
    tokenizer = load_own_tokenizer(config, context)
    supply = load_supply(config, context, tokenizer, partial(_read, config, tokenizer), close=False)
    settings = {"objective": config.objective, "scores": config.scores, "template": config.template}
    model = reward_model_from(load_policy(config, context), settings)
    held_out = [_judged(config, row) for row in supply.rows(supply.measured)]

    def source(done: int) -> Iterator[list[Judged]]:
        return ([_judged(config, row) for row in rows] for rows in supply.from_step(done))

    rhythm = Rhythm(supply.steps, 1, config.save_every)
    measured = train(model, config, context, rhythm, source, loss, partial(measure, held_out))
    model.settings |= {key.removeprefix("eval/"): measured[key] for key in SCALE if key in measured}
    publish_model(model, tokenizer, context.dir / "model")
    return {"steps": supply.steps, "records": len(supply.learned), "held_out": len(supply.measured), **measured}


def loss(model: RewardModel, judged: Judged) -> Tensor:
    """Summed over pairs or labelled answers."""
    return preference_loss(margins(document_scores(model, judged.row), judged))


def margins(scores_N: Tensor, judged: Judged) -> Tensor:
    """Above 0 where the model is right, one for each of `judged.count`."""
    if judged.good is None:
        return pair_margins(scores_N)
    return label_margins(scores_N, torch.tensor(judged.good, device=scores_N.device))


def measure(held_out: Sequence[Judged], model: RewardModel) -> dict[str, float]:
    """Loss and accuracy with its 95 % interval on held-out records, and the scale of the scores they get."""
    if not held_out:
        return {}
    scores = [document_scores(model, judged.row) for judged in held_out]
    right = torch.cat([margins(*each) for each in zip(scores, held_out, strict=True)])
    accuracy, low, high = mean_ci95((right > 0).float().tolist())
    measured = {"eval/loss": float(preference_loss(right)) / len(right), "eval/accuracy": accuracy}
    measured |= {"eval/accuracy_low": low, "eval/accuracy_high": high}
    std, mean = torch.std_mean(torch.cat(scores))
    return measured | {"eval/score_mean": float(mean), "eval/score_std": float(std)}


def _judged(config: Preference, row: Sequence[Record]) -> Judged:
    documents = [document for record in row for document in record.documents]
    return Judged(pack(documents), None if config.objective == "pairwise" else tuple(record.label for record in row))


def _read(config: Preference, tokenizer: PreTrainedTokenizerBase, row: Row, where: str) -> Texts:
    question, label = row_prompt(row, where), True
    if config.objective == "pairwise":
        responses = [row_text(row, (name,), where) for name in ("chosen", "rejected")]
    else:
        responses, label = [row_text(row, RESPONSE_FIELDS, where)], row.get("safe")
        if not isinstance(label, bool):
            raise DataError(f"{where}: wanted true or false in safe; found {label!r}")
    prompt = render_prompt(question, config.template, tokenizer)
    parts = [scored_parts(prompt, response, config.scores) for response in responses]
    if None in parts:
        raise DataError(f"{where}: an answer has no summary after its thoughts, yet that is what is scored; delete it")
    return Texts(question, parts, label)

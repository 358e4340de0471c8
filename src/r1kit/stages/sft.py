"""The sft stage: a base model learns the answers of records. Cold start, second SFT and distillation differ in data.

The loss is a mean over all answer tokens of a step. Its records are packed into rows without padding, and no record
sees another: how they are packed changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from r1kit.config import SFT
from r1kit.data.examples import Row, continue_prompt, conversation, render_messages
from r1kit.data.pack import PackedRow, pack
from r1kit.learn.next_token import answer_loss
from r1kit.model.decoder import Decoder
from r1kit.model.hf import publish_model
from r1kit.stages.context import StageContext
from r1kit.stages.loop import Rhythm, train
from r1kit.stages.records import Record, Texts, load_own_tokenizer, load_policy, load_supply


def run(config: SFT, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. The summary is the totals."""
    tokenizer = load_own_tokenizer(config, context)

    def read(row: Row, where: str) -> Texts:
        messages, answer = conversation(row, where)
        prompt = render_messages(messages, config.template, tokenizer)
        return Texts(prompt, [(prompt, continue_prompt(prompt, answer))])

    supply = load_supply(config, context, tokenizer, read, close=True)
    model = load_policy(config, context)

    def source(done: int) -> Iterator[list[PackedRow]]:
        return ([_packed(row) for row in rows] for rows in supply.from_step(done))

    def measure(model: Decoder) -> dict[str, float]:
        rows = [_packed(row) for row in supply.rows(supply.measured)]
        return {"eval/loss": mean_loss(model, rows)} if rows else {}

    measured = train(model, config, context, Rhythm(supply.steps, 1, config.save_every), source, answer_loss, measure)
    publish_model(model, tokenizer, context.dir / "model")
    return {"steps": supply.steps, "records": len(supply.learned), "held_out": len(supply.measured), **measured}


def mean_loss(model: Decoder, rows: Sequence[PackedRow]) -> float:
    """Mean cross-entropy of the rows' answer tokens, in nats."""
    return sum(float(answer_loss(model, row)) for row in rows) / sum(row.count for row in rows)


def _packed(row: Sequence[Record]) -> PackedRow:
    return pack([document for record in row for document in record.documents])

"""The sft stage: supervised fine-tuning. Cold start, second SFT and distillation differ in their data only.

The loss is the mean over all answer tokens of a step. Records are packed into rows without padding; attention stays
within a record, so packing does not change the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1kit.config import SFT
from r1kit.data.examples import Row, continue_prompt, conversation, episode_of, prompt_of_episode, render_messages
from r1kit.data.pack import PackedRow, pack
from r1kit.learn.lora import merge_adapters
from r1kit.learn.next_token import answer_loss
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import publish_model
from r1kit.model.policy import Policy
from r1kit.stages.context import StageContext
from r1kit.stages.records import Record, Texts, load_policy, load_records, load_tokenizer_with_chat
from r1kit.stages.train_loop import Schedule, train


def run(config: SFT, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. Return the totals."""
    tokenizer = load_tokenizer_with_chat(config, context)

    def read(row: Row, where: str) -> Texts:
        if (episode := episode_of(row, where)) is not None:
            prompt = prompt_of_episode(row, where, config.template, tokenizer)
            first = {**episode[0], "content": continue_prompt(prompt, episode[0]["content"])}
            return Texts(prompt, [(prompt, [first, *episode[1:]])])
        messages, answer = conversation(row, where)
        prompt = render_messages(messages, config.template, tokenizer)
        return Texts(prompt, [(prompt, continue_prompt(prompt, answer))])

    data = load_records(config, context, tokenizer, read, close=True)
    model = load_policy(config, context, tokenizer)

    def source(done: int) -> Iterator[list[PackedRow]]:
        return ([_pack(row) for row in rows] for rows in data.steps_from(done, context.world.size))

    def evaluate(model: Policy) -> dict[str, float]:
        rows = [_pack(row) for row in data.pack(data.held_out)]
        return {"eval/loss": mean_loss(model, rows)} if rows else {}

    schedule = Schedule(data.steps, 1, config.save_every)
    evaluation = train(model, config, context, schedule, source, answer_loss, evaluate)
    if context.world.is_first:
        publish_model(merge_adapters(model).to(torch_dtype(context.dtype)), tokenizer, context.files.model)
    context.files.tokens.unlink(missing_ok=True)
    return {"steps": data.steps, "records": len(data.trained), "held_out": len(data.held_out), **evaluation}


def initial_model(config: SFT, context: StageContext) -> tuple[Policy, PreTrainedTokenizerBase]:
    """Return the model before the first update, and its tokenizer with the stage's template."""
    tokenizer = load_tokenizer_with_chat(config, context)
    return load_policy(config, context, tokenizer), tokenizer


def mean_loss(model: Policy, rows: Sequence[PackedRow]) -> float:
    """Return the mean cross-entropy of the answer tokens, in nats."""
    return sum(float(answer_loss(model, row)) for row in rows) / sum(row.count for row in rows)


def _pack(row: Sequence[Record]) -> PackedRow:
    return pack([document for record in row for document in record.documents])

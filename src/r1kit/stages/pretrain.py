"""The pretrain stage: a tokenizer and a base model from nothing but a corpus, or an earlier model on more text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.config import Pretrain
from r1kit.data.tokenizer import train_tokenizer
from r1kit.data.worlds.corpus import documents
from r1kit.hashing import derive_seed
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.model.hf import load_model, load_tokenizer, publish_model
from r1kit.stages.context import StageContext
from r1kit.stages.loop import Rhythm, train

TOKENIZER_DOCUMENTS = 20_000
TOKENIZE_AT_ONCE = 512
LOG_EVERY = 20
SAVE_EVERY = 250


@dataclass(frozen=True, slots=True)
class Rows:
    """Stretches of the corpus: every token but a row's first is predicted from those before it."""

    tokens_BT1: Tensor

    @property
    def count(self) -> int:
        return self.tokens_BT1[:, 1:].numel()

    tokens = count


def run(config: Pretrain, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. The summary is the totals."""
    model, tokenizer = _beginning(config, context)

    def source(done: int) -> Iterator[list[Rows]]:
        texts = documents(config.corpus, derive_seed(context.seed, "documents"))
        batches = token_batches(texts, tokenizer, config.sequences_per_step, config.context_length)
        return ([Rows(tokens_BT1.to(context.device))] for tokens_BT1 in islice(batches, done, None))

    train(model, config, context, Rhythm(config.steps, LOG_EVERY, SAVE_EVERY), source, next_token_loss)
    publish_model(model, tokenizer, context.dir / "model")
    return {"steps": config.steps, "tokens": config.steps * config.sequences_per_step * config.context_length}


def _beginning(config: Pretrain, context: StageContext) -> tuple[Decoder, PreTrainedTokenizerBase]:
    """An earlier model in fp32, or a new one with a tokenizer of the corpus."""
    if config.model is not None:
        directory = context.models[config.model]
        return load_model(directory, torch.float32, context.device), load_tokenizer(directory)
    texts = documents(config.corpus, derive_seed(context.seed, "tokenizer"))
    tokenizer = train_tokenizer(islice(texts, TOKENIZER_DOCUMENTS), config.vocab_size)
    shape = ModelConfig.from_architecture(config.architecture, len(tokenizer), config.context_length)
    shape = replace(shape, eos_token_ids=(tokenizer.eos_token_id,), pad_token_id=tokenizer.pad_token_id)
    model = Decoder(shape).to(context.device)
    model.init_weights(derive_seed(context.seed, "weights"))
    return model, tokenizer


def next_token_loss(model: Decoder, rows: Rows) -> Tensor:
    """Summed cross-entropy of every next token, in nats."""
    logits_BTV = model.logits(model(rows.tokens_BT1[:, :-1]))
    return F.cross_entropy(logits_BTV.flatten(0, 1).float(), rows.tokens_BT1[:, 1:].flatten(), reduction="sum")


def token_batches(texts: Iterator[str], tokenizer: PreTrainedTokenizerBase, rows: int, length: int) -> Iterator[Tensor]:
    """Endless [rows, length + 1] tokens: documents one after another, each closed by an end-of-text token.

    Rows are cut anywhere and documents see what stands before them, as in any base model's pretraining: the model
    learns to read a prompt after unrelated text.
    """
    kept: list[int] = []
    while True:
        while len(kept) <= rows * length:
            for ids in tokenizer(list(islice(texts, TOKENIZE_AT_ONCE)))["input_ids"]:
                kept += [*ids, tokenizer.eos_token_id]
        tokens = torch.tensor(kept[: rows * length + 1])
        yield tokens.unfold(0, length + 1, length)
        kept = kept[rows * length :]

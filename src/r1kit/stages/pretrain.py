"""The pretrain stage: train a tokenizer and a base model on a corpus, or continue from an earlier model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.config import Pretrain
from r1kit.config.pretrain import SAVE_EVERY
from r1kit.console import heartbeat
from r1kit.data.tokenizer import train_tokenizer
from r1kit.data.worlds.corpus import documents
from r1kit.hashing import derive_seed
from r1kit.learn.logprobs import token_logprobs
from r1kit.learn.memory import configure
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer, publish_model
from r1kit.model.policy import Policy
from r1kit.stages.context import StageContext
from r1kit.stages.train_loop import Schedule, train

TOKENIZER_DOCUMENTS = 20_000
TOKENIZE_BATCH = 512  # documents
LOG_EVERY = 20


@dataclass(frozen=True, slots=True)
class CorpusBatch:
    """Rows of B sequences of the corpus with T1 = T + 1 tokens each: every token but the first is predicted."""

    tokens_BT1: Tensor

    @property
    def count(self) -> int:
        """The number of predicted tokens."""
        return self.tokens_BT1[:, 1:].numel()

    tokens = count


def run(config: Pretrain, context: StageContext) -> dict[str, Any]:
    """Train from the last checkpoint, or from the start, and publish model/. Return the totals."""
    model, tokenizer = initial_model(config, context)
    tokens, dtype = config.sequences_per_step * config.context_length, torch_dtype(context.dtype)
    configure(model, config, tokens, dtype)

    def source(done: int) -> Iterator[list[CorpusBatch]]:
        texts = documents(config.corpus, derive_seed(context.seed, "documents"))
        batches = token_batches(texts, tokenizer, config.sequences_per_step, config.context_length)
        return (_micro_batches(tokens_BT1, context) for tokens_BT1 in islice(batches, done, None))

    train(model, config, context, Schedule(config.steps, LOG_EVERY, SAVE_EVERY), source, next_token_loss)
    if context.world.is_first:
        publish_model(model.to(dtype), tokenizer, context.files.model)
    return {"steps": config.steps, "tokens": config.steps * config.sequences_per_step * config.context_length}


def _micro_batches(tokens_BT1: Tensor, context: StageContext) -> list[CorpusBatch]:
    """Return one micro-batch for every rank."""
    ranks = min(context.world.size, len(tokens_BT1))
    return [CorpusBatch(part.to(context.device)) for part in tokens_BT1.tensor_split(ranks)]


def initial_model(config: Pretrain, context: StageContext) -> tuple[Policy, PreTrainedTokenizerBase]:
    """Return an earlier model in fp32, or a new one with a tokenizer trained on the corpus."""
    if config.model is not None:
        directory = context.models[config.model]
        return load_model(directory, torch.float32, context.device), load_tokenizer(directory)
    if config.architecture is None or config.vocab_size is None:
        raise ValueError("a pretrain stage without `model` needs `architecture` and `vocab_size`")
    texts = documents(config.corpus, derive_seed(context.seed, "tokenizer"))
    with heartbeat("training the tokenizer"):
        tokenizer = train_tokenizer(islice(texts, TOKENIZER_DOCUMENTS), config.vocab_size)
    shape = ModelConfig.from_architecture(config.architecture, len(tokenizer), config.context_length)
    shape = replace(shape, eos_token_ids=(tokenizer.eos_token_id,), pad_token_id=tokenizer.pad_token_id)
    model = Decoder(shape).to(context.device)
    model.init_weights(derive_seed(context.seed, "weights"))
    return model, tokenizer


def next_token_loss(model: Policy, batch: CorpusBatch) -> Tensor:
    """Return the cross-entropy of every next token in nats, summed."""
    hidden_ND = model(batch.tokens_BT1[:, :-1]).flatten(0, 1)
    return -token_logprobs(hidden_ND, model.head_weight, batch.tokens_BT1[:, 1:].flatten(), fp32=model.fp32_head).sum()


def token_batches(texts: Iterator[str], tokenizer: PreTrainedTokenizerBase, rows: int, length: int) -> Iterator[Tensor]:
    """Yield token batches [rows, length + 1] of concatenated documents, each ended by an end-of-text token.

    Rows are cut anywhere, and documents attend to the documents before them, as is common in pretraining: the model
    learns to read a prompt after unrelated text. Consecutive rows share one token.
    """
    buffer: list[int] = []
    while True:
        while len(buffer) <= rows * length:
            for ids in tokenizer(list(islice(texts, TOKENIZE_BATCH)))["input_ids"]:
                buffer += [*ids, tokenizer.eos_token_id]
        tokens = torch.tensor(buffer[: rows * length + 1])
        yield tokens.unfold(0, length + 1, length)
        buffer = buffer[rows * length :]

"""Records read from files, cut into those to learn from and those to measure on, and dealt out in packed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import torch
from transformers import PreTrainedTokenizerBase

from r1kit.config import Supervised
from r1kit.console import say
from r1kit.data.examples import Row, encode, hold_out, read_sources
from r1kit.data.pack import Document, first_fit
from r1kit.data.store import DataError
from r1kit.data.template import give_chat_template
from r1kit.hashing import derive_seed
from r1kit.model.decoder import Decoder
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.stages.context import StageContext


@dataclass(frozen=True, slots=True)
class Texts:
    """A record as it is read: answers to one prompt."""

    key: str  # records of one key are learned from or measured on together
    answers: Sequence[tuple[str, str]]  # (prompt, answer): one, or the chosen and the rejected
    label: bool = True  # of a single answer: safe or not


@dataclass(frozen=True, slots=True)
class Record:
    """A record in tokens."""

    documents: tuple[Document, ...]
    label: bool

    def __len__(self) -> int:
        return sum(map(len, self.documents))


@dataclass(frozen=True, slots=True)
class Supply:
    """What a stage learns from and is measured on."""

    config: Supervised
    seed: int
    learned: Sequence[Record]
    measured: Sequence[Record]

    @property
    def steps(self) -> int:
        return -(-len(self.learned) * self.config.epochs // self.config.sequences_per_step)

    def from_step(self, step: int) -> Iterator[list[list[Record]]]:
        """The packed rows of every step from this one on: a pure function of the seed and the step."""
        end, per_step = len(self.learned) * self.config.epochs, self.config.sequences_per_step
        for first in range(step * per_step, end, per_step):
            drawn = [divmod(position, len(self.learned)) for position in range(first, min(first + per_step, end))]
            orders = {epoch: _order(len(self.learned), self.seed, epoch) for epoch, _ in drawn}
            yield self.rows([self.learned[orders[epoch][index]] for epoch, index in drawn])

    def rows(self, records: Sequence[Record]) -> list[list[Record]]:
        """Records by the packed row they share; documents of one record are never parted."""
        return [[records[i] for i in row] for row in first_fit(list(map(len, records)), self.config.row_tokens)]


@lru_cache(maxsize=2)
def _order(n: int, seed: int, epoch: int) -> Sequence[int]:
    order = list(range(n))
    Random(derive_seed("epoch", seed, epoch)).shuffle(order)
    return order


def load_policy(config: Supervised, context: StageContext) -> Decoder:
    """The model to train, in fp32, and for texts as long as the records may be."""
    model = load_model(context.models[config.model], torch.float32, context.device)
    model.config = model.config.with_context(config.context_length)
    model.recompute = model.config.should_recompute(config.row_tokens, torch_dtype(context.dtype).itemsize)
    return model


def load_own_tokenizer(config: Supervised, context: StageContext) -> PreTrainedTokenizerBase:
    """Its tokenizer, which has a chat template from here on."""
    tokenizer = load_tokenizer(context.models[config.model])
    give_chat_template(tokenizer, config.template)
    return tokenizer


def load_supply(
    config: Supervised,
    context: StageContext,
    tokenizer: PreTrainedTokenizerBase,
    read: Callable[[Row, str], Texts],
    *,
    close: bool,
) -> Supply:
    """All records of the stage. `read` makes texts of a row (and of where it stands); `close` ends answers with EOS.

    DataError when nothing is left to learn from. A record longer than context_length is left out, and said to be: cut
    off, it would teach to think without ever answering.
    """
    keys, labels = [], []

    def answers() -> Iterator[tuple[str, str]]:
        for where, row in read_sources(context.data.get(source, source) for source in config.data):
            texts = read(row, where)
            keys.append(texts.key)
            labels.append(texts.label)
            yield from texts.answers

    documents = list(encode(answers(), tokenizer, close=close))
    each = len(documents) // max(1, len(keys))  # documents a record has
    found = [Record(tuple(documents[i * each : (i + 1) * each]), label) for i, label in enumerate(labels)]
    fitting = [i for i, record in enumerate(found) if max(map(len, record.documents)) <= config.context_length]
    if not fitting:
        raise DataError(
            f"{', '.join(config.data)}: none of {len(found)} records fits into {config.context_length} tokens: raise "
            "context_length, or give other data"
        )
    if longer := len(found) - len(fitting):
        say(f"{longer} of {len(found)} records are longer than {config.context_length} tokens: left out")
    held_out = {fitting[i] for i in hold_out([keys[i] for i in fitting], config.held_out, context.seed)}
    learned = [found[i] for i in fitting if i not in held_out]
    measured = [found[i] for i in fitting if i in held_out]
    tokens = sum(map(len, learned))
    say(f"{context.name}: {len(learned)} records of {tokens} tokens to learn from, {len(measured)} held out")
    return Supply(config, derive_seed(context.seed, "order"), learned, measured)

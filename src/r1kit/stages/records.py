"""Training records: read from files, tokenized, split into trained and held-out ones, and packed into rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random

import torch
from transformers import PreTrainedTokenizerBase

import r1kit
from r1kit.config import Adapters, Supervised
from r1kit.console import heartbeat, say
from r1kit.data.examples import Message, Row, encode, hold_out, read_sources
from r1kit.data.pack import Document, first_fit
from r1kit.data.store import DataError
from r1kit.data.template import set_template
from r1kit.data.token_cache import TokenizedRecords, load_tokens, save_tokens
from r1kit.hashing import canonical_json, derive_seed, fingerprint
from r1kit.learn.lora import add_adapters
from r1kit.learn.memory import configure
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.model.policy import Policy
from r1kit.stages.context import Amended, StageContext


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one record: answers to one prompt."""

    key: str  # records with the same key are held out together
    answers: Sequence[tuple[str, str | Sequence[Message]]]  # (prompt, answer): one, or the chosen and the rejected one
    label: bool = True  # whether a single answer is safe


@dataclass(frozen=True, slots=True)
class Record:
    """One record in tokens."""

    documents: tuple[Document, ...]
    label: bool

    def __len__(self) -> int:
        return sum(map(len, self.documents))


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one stage."""

    config: Supervised
    seed: int
    trained: Sequence[Record]
    held_out: Sequence[Record]
    since: Amended = field(default_factory=Amended)  # where drawing `sequences_per_step` of these records begins

    @property
    def steps(self) -> int:
        """The number of steps in all epochs."""
        rest = len(self.trained) * self.config.epochs - self.since.sequences
        return self.since.step + max(0, -(-rest // self.config.sequences_per_step))

    def steps_from(self, step: int, ranks: int = 1) -> Iterator[list[list[Record]]]:
        """Yield the packed rows of this step (from 0) and of all later ones. A pure function of seed and step.

        Several ranks get shorter rows, so that each has some.
        """
        end, per_step = len(self.trained) * self.config.epochs, self.config.sequences_per_step
        for first in range(self.since.sequences + (step - self.since.step) * per_step, end, per_step):
            drawn = [divmod(position, len(self.trained)) for position in range(first, min(first + per_step, end))]
            orders = {epoch: _order(len(self.trained), self.seed, epoch) for epoch, _ in drawn}
            yield self.pack([self.trained[orders[epoch][index]] for epoch, index in drawn], ranks)

    def pack(self, records: Sequence[Record], ranks: int = 1) -> list[list[Record]]:
        """Group records into packed rows. The documents of a record stay in one row."""
        lengths = list(map(len, records))
        capacity = min(self.config.row_tokens, -(-sum(lengths) // ranks)) if ranks > 1 else self.config.row_tokens
        return [[records[i] for i in row] for row in first_fit(lengths, capacity)]


@lru_cache(maxsize=2)
def _order(n: int, seed: int, epoch: int) -> Sequence[int]:
    order = list(range(n))
    Random(derive_seed("epoch", seed, epoch)).shuffle(order)
    return order


def load_policy(config: Supervised, context: StageContext, tokenizer: PreTrainedTokenizerBase) -> Policy:
    """Return the model to train, with at least `context_length` positions and the tokenizer's EOS token.

    Its weights are fp32, or have the run's dtype where adapters are trained instead.
    """
    dtype = torch_dtype(context.dtype)
    adapters = config if isinstance(config, Adapters) and config.lora_rank else None
    model = load_model(context.models[config.model], dtype if adapters else torch.float32, context.device)
    model.config = model.config.with_context(config.context_length).stopping_at(tokenizer.eos_token_id)
    configure(model, config, config.row_tokens, dtype)
    if adapters:
        add_adapters(model, adapters.lora_rank, adapters.lora_alpha, derive_seed(context.seed, "adapters"))
    return model


def load_tokenizer_with_chat(config: Supervised, context: StageContext) -> PreTrainedTokenizerBase:
    """Return the model's tokenizer with the chat template and the EOS token of the stage's template."""
    tokenizer = load_tokenizer(context.models[config.model])
    set_template(tokenizer, config.template)
    return tokenizer


def load_records(
    config: Supervised,
    context: StageContext,
    tokenizer: PreTrainedTokenizerBase,
    read: Callable[[Row, str], Texts],
    *,
    close: bool,
) -> Records:
    """Return all records of the stage. Records longer than `context_length` are left out, and their number is printed.

    They are not truncated, because that would teach the model to think without answering. A resumed stage reads the
    tokens that it has saved, unless the records come from the hub.

    Args:
        config: The stage's config.
        context: The stage.
        tokenizer: The model's tokenizer.
        read: Returns the texts of a row; its second argument is the row's location for error messages.
        close: Whether to append the token that ends answers.

    Raises:
        DataError: A row cannot be used, or no record fits.
    """
    made_from = _fingerprint(config, context)
    with context.world.first_before_others():
        tokenized = load_tokens(context.files.tokens, made_from) if made_from else None
        if tokenized is None:
            tokenized = _tokenize(config, context, tokenizer, read, close)
            if made_from and tokenized.documents and context.world.is_first:
                save_tokens(context.files.tokens, made_from, tokenized)
    documents, keys, labels = tokenized.documents, tokenized.keys, tokenized.labels
    size = len(documents) // max(1, len(keys))  # documents per record
    records = [Record(tuple(documents[i * size : (i + 1) * size]), label) for i, label in enumerate(labels)]
    fitting = [i for i, record in enumerate(records) if max(map(len, record.documents)) <= config.context_length]
    if not fitting:
        raise DataError(
            f"{', '.join(config.data)}: none of {len(records)} records fits into {config.context_length} tokens: raise "
            "context_length, or use other data"
        )
    if longer := len(records) - len(fitting):
        say(f"{longer} of {len(records)} records are longer than {config.context_length} tokens: left out")
    held_out = {fitting[i] for i in hold_out([keys[i] for i in fitting], config.held_out, context.seed)}
    trained = [records[i] for i in fitting if i not in held_out]
    tokens = sum(map(len, trained))
    say(f"{context.name}: {len(trained)} records of {tokens} tokens to train on, {len(held_out)} held out")
    kept = [records[i] for i in sorted(held_out)]
    return Records(config, derive_seed(context.seed, "order"), trained, kept, context.since)


def _tokenize(
    config: Supervised,
    context: StageContext,
    tokenizer: PreTrainedTokenizerBase,
    read: Callable[[Row, str], Texts],
    close: bool,
) -> TokenizedRecords:
    keys: list[str] = []
    labels: list[bool] = []

    def answers() -> Iterator[tuple[str, str | Sequence[Message]]]:
        for where, row in read_sources(_sources(config, context)):
            texts = read(row, where)
            keys.append(texts.key)
            labels.append(texts.label)
            yield from texts.answers

    with heartbeat(f"tokenizing {', '.join(config.data)}"):
        return TokenizedRecords(list(encode(answers(), tokenizer, close=close)), keys, labels)


def _sources(config: Supervised, context: StageContext) -> list[str | Path]:
    return [context.data.get(source, source) for source in config.data]


def _fingerprint(config: Supervised, context: StageContext) -> str | None:
    """Return a hash of what decides the tokens: config, model and data. None for data that is no file."""
    paths = [Path(source).expanduser() for source in _sources(config, context)]
    if not all(path.is_file() for path in paths):
        return None
    files = [fingerprint(path) for path in (context.models[config.model], *paths)]
    made_from = {"r1kit": r1kit.__version__, "config": config.model_dump(mode="json"), "files": files}
    return hashlib.sha256(canonical_json(made_from)).hexdigest()

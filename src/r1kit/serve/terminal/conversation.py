"""A conversation with one model: its turns, its settings, and where answers come from."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1kit.errors import UserError

SEEDS = 2**31  # random seeds are below


class Settings(BaseModel):
    """How answers are sampled."""

    model_config = ConfigDict(frozen=True)

    temperature: float = Field(0.6, ge=0, le=2)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    """None: as many as the context allows."""
    system: str = ""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """None: another one for each answer."""

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Settings:
        """Return settings. Raises UserError if a value is not allowed."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{first['loc'][0]} = {first['input']}: {first['msg']}") from None

    def changed(self, name: str, text: str) -> Settings:
        """Return the settings with a value from a text; an empty text stands for the default.

        Raises:
            UserError: The value is not allowed.
        """
        values = {**self.model_dump(), name: text}
        return self.checked({key: value for key, value in values.items() if value != "" or key != name})


class Message(NamedTuple):
    """A message as a chat template gets it."""

    role: str
    content: str


class Piece(NamedTuple):
    """What was just added to an answer."""

    reasoning: str = ""
    content: str = ""
    finish_reason: str | None = None
    tokens: int = 0  # of the answer so far, if known


class Backend(Protocol):
    """Where answers come from."""

    @property
    def reads_conversations(self) -> bool:
        """Whether the model sees the system prompt and earlier turns, and not only a question."""
        ...

    def stream(self, messages: Sequence[Message], settings: Settings, seed: int) -> Iterator[Piece]:
        """Yield an answer as it grows. Closing the iterator stops it.

        Raises:
            UserError: There is no answer, with the reason.
        """
        ...


@dataclass(slots=True)
class Turn:
    """A question, and what was answered so far."""

    question: str
    content: str = ""


@dataclass(slots=True)
class Conversation:
    """Asks one question after the other; each is answered in view of the turns before."""

    backend: Backend
    settings: Settings
    turns: list[Turn] = field(default_factory=list)
    seed: int = 0
    """Of the last answer."""

    def ask(self, question: str) -> Generator[Piece]:
        """Yield the answer to a question as it grows. A question without any answer is forgotten."""
        return self._answer(question, self.settings.seed, self.turns)

    def retry(self) -> Generator[Piece]:
        """Yield another answer to the last question, in place of the one before. There must be one."""
        return self._answer(self.turns[-1].question, None, self.turns[:-1])

    def _answer(self, question: str, seed: int | None, earlier: Sequence[Turn]) -> Generator[Piece]:
        turn = Turn(question)
        turns = [*earlier, turn]
        self.seed = random.randrange(SEEDS) if seed is None else seed
        for piece in self.backend.stream(self._messages(question, earlier), self.settings, self.seed):
            self.turns = turns
            turn.content += piece.content
            yield piece

    def _messages(self, question: str, earlier: Sequence[Turn]) -> list[Message]:
        asked = Message("user", question)
        if not self.backend.reads_conversations:
            if self.settings.system:
                raise UserError(
                    "system: the prompt template of this model has room for one question only; leave it empty"
                )
            return [asked]
        messages = [Message("system", self.settings.system)] if self.settings.system else []
        for turn in earlier:
            messages += [Message("user", turn.question), Message("assistant", turn.content)]
        return [*messages, asked]

"""A conversation with one model: its turns, its settings, and where answers come from."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from r1kit.errors import UserError, requirement
from r1kit.rewards.sandbox.base import InfraError
from r1kit.tools.base import Tool, ToolResult, ToolSession
from r1kit.tools.parse import read_arguments

SEEDS = 2**31  # random seeds are below
MAX_ROUNDS = 16  # of calls and results before an answer


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
            raise UserError(f"{first['loc'][0]} = {first['input']}: {requirement(first['msg'])}") from None

    def changed(self, name: str, text: str) -> Settings:
        """Return the settings with a value from a text; an empty text stands for the default.

        Raises:
            UserError: The value is not allowed.
        """
        values = {**self.model_dump(), name: text}
        return self.checked({key: value for key, value in values.items() if value != "" or key != name})


Message = dict[str, Any]
"""A message, or a call of a tool, as OpenAI's API has it."""


class Piece(NamedTuple):
    """What was just added to an answer."""

    reasoning: str = ""
    content: str = ""
    calls: tuple[Message, ...] = ()
    results: tuple[ToolResult, ...] = ()
    """Of the calls, in their order."""
    finish_reason: str | None = None
    tokens: int = 0  # of the answer so far, if known


class Backend(Protocol):
    """Where answers come from."""

    @property
    def reads_conversations(self) -> bool:
        """Whether the model sees the system prompt and earlier turns, and not only a question."""
        ...

    def stream(
        self, messages: Sequence[Message], settings: Settings, seed: int, tools: Sequence[Tool]
    ) -> Iterator[Piece]:
        """Yield an answer as it grows; its calls of tools come last. Closing the iterator stops it.

        Raises:
            UserError: There is no answer, with the reason.
        """
        ...


@dataclass(slots=True)
class Turn:
    """A question, and what was answered so far."""

    question: str
    content: str = ""
    before: list[Message] = field(default_factory=list)
    """Calls and results before the answer."""

    def asked(self) -> list[Message]:
        """Return all but the answer."""
        return [{"role": "user", "content": self.question}, *self.before]


@dataclass(slots=True)
class Conversation:
    """Asks one question after the other; each is answered in view of the turns before.

    Where an answer calls tools, they run here, and the model goes on with their results.
    """

    backend: Backend
    settings: Settings
    turns: list[Turn] = field(default_factory=list)
    seed: int = 0
    """Of the last answer."""
    tools: Sequence[Tool] = ()
    session: ToolSession = field(init=False)

    def __post_init__(self) -> None:
        self.session = ToolSession(self.tools)

    def forget(self) -> None:
        """Begin again: without turns, and with tools that have kept nothing."""
        self.turns.clear()
        self.session = ToolSession(self.tools)

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
        for _ in range(MAX_ROUNDS):
            calls: tuple[Message, ...] = ()
            for piece in self.backend.stream(self._messages(turn, earlier), self.settings, self.seed, self.tools):
                self.turns = turns
                turn.content += piece.content
                calls += piece.calls
                yield piece
            if not calls:
                return
            yield self._run(calls, turn)
        raise UserError(f"the model called tools {MAX_ROUNDS} times without an answer: ask something else, or /retry")

    def _run(self, calls: Sequence[Message], turn: Turn) -> Piece:
        """Run the calls of an answer, and add them and their results to the turn."""
        results: list[ToolResult] = []
        messages: list[Message] = [{"role": "assistant", "content": turn.content or None, "tool_calls": [*calls]}]
        for call in calls:
            function = call["function"]
            try:
                results.append(self.session.call(read_arguments(call["id"], function["name"], function["arguments"])))
            except InfraError as error:
                raise UserError(f"{function['name']}: the sandbox failed: {error}") from None
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": results[-1].text})
        turn.before += messages
        turn.content = ""
        return Piece(results=tuple(results))

    def _messages(self, turn: Turn, earlier: Sequence[Turn]) -> list[Message]:
        if not self.backend.reads_conversations:
            if self.settings.system:
                raise UserError(
                    "system: the prompt template of this model has room for one question only; leave it empty"
                )
            return turn.asked()
        messages: list[Message] = [{"role": "system", "content": self.settings.system}] if self.settings.system else []
        for each in earlier:
            messages += [*each.asked(), {"role": "assistant", "content": each.content}]
        return [*messages, *turn.asked()]

"""Environments of the package `verifiers`, unchanged: `environment = "verifiers:NAME"`.

Their rollouts ask a client for answers. Here the client waits for the next turn of the episode, so the tokens that are
trained on are those that were sampled:

    env.rollout ── asks ──► Client ── messages since the last answer ──► step: their tokens, then a turn is sampled
         ▲                                                                              │
         └───────────────────────────── the turn as a response ─────────────────────────┘

All rollouts run in one event loop in a thread of its own, as the package has it: clients and locks of an environment
belong to a loop.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from r1kit.data.verifiers import load_environment, plain_text, tool_definitions
from r1kit.environments.base import Message
from r1kit.environments.tools import UNKNOWN_STYLE, after_thinking
from r1kit.errors import UserError
from r1kit.tools.base import BrokenCall, ToolCall
from r1kit.tools.parse import CallReader, Style
from r1kit.types import Problem

UNLIMITED = 1_000  # turns of environments without a limit; that of tokens comes first
ROLES = ("user", "tool")  # of what an environment adds
BEAT, STUCK = 0.2, 10.0  # seconds between signs of life of a loop, and without one
GROUP_REWARDS = (
    "its rubric has rewards that compare the rollouts of a group, but episodes are scored one by one: make them "
    "functions of one completion"
)


class VerifiersEnvironment:
    """An environment of the package. Its tools stand in the prompts, its rubric gives the reward `environment`."""

    stop = ()

    def __init__(self, name: str) -> None:
        """Load an environment. UserError if there is none, or it cannot be trained on."""
        self.environment = load_environment(name)
        if getattr(self.environment.rubric, "has_group_rewards", False):
            raise UserError(f"verifiers:{name}: {GROUP_REWARDS}")
        turns = getattr(self.environment, "max_turns", 0)  # a group of environments has none
        self.max_turns = turns if turns > 0 else UNLIMITED
        self.tools = tool_definitions(self.environment.tool_defs)
        self.style: Style | None = None
        self._loop = _Loop()

    def start(self, problem: Problem, seed: int) -> Rollout:
        """See `Environment.start`. The package has no seeds: an environment that draws numbers cannot repeat them.

        A loop in which code of the environment does not return is left behind, with the episodes that are in it.
        """
        if "row" not in problem.extra:
            raise UserError('a problem of another source: prompts must be of "verifiers:NAME", as the environment')
        if problem.tools and self.style is None:
            raise UserError(UNKNOWN_STYLE)
        if self._loop.is_stuck:
            self._loop = _Loop()
        return Rollout(self.environment, problem, self.style, self._loop)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for an answer."""

    messages: Sequence[Any]
    answer: asyncio.Future[Any]


class Rollout:
    """One rollout of the package as an episode."""

    def __init__(self, environment: Any, problem: Problem, style: Style | None, loop: _Loop) -> None:
        self.environment, self.problem, self.style, self.loop = environment, problem, style, loop
        self.said: SimpleQueue[_Asked | None] = SimpleQueue()  # by the rollout; None at its end
        self.turns = 0
        self.begun = False
        self.asked: _Asked | None = None  # the request that waits for an answer
        self.reward: Future[float] = loop.run(self._run())
        self.reward.add_done_callback(lambda _: self.said.put(None))

    def step(self, text: str) -> list[Message] | None:
        """See `Episode.step`. Raises what the environment raised."""
        asked = self._first()
        if asked is None:
            return None
        response = _response(text, self.turns, self.style if self.problem.tools else None)
        self.turns += 1
        self.loop.settle(asked.answer, response)
        if (following := self._next()) is None:
            return None
        known = len(asked.messages)
        if _shown(following.messages[:known]) != _shown(asked.messages) or len(following.messages) <= known + 1:
            raise ValueError("the environment rewrites its history or adds nothing to it: an episode only grows")
        return [_message(each) for each in following.messages[known + 1 :]]

    def score(self) -> float:
        """See `Episode.score`: the rubric's. A rollout that is cut off is scored without its last turn."""
        if (asked := self._first()) is not None:
            error = import_module("verifiers").OverlongPromptError("cut off by max_completion_length or max_turns")
            self.loop.settle(asked.answer, error)
            if self._next() is not None:
                raise RuntimeError("the environment goes on after an overlong prompt")
        return self.reward.result()

    def close(self) -> None:
        """See `Episode.close`. A call that still waits for the rollout ends too."""
        self.reward.cancel()

    def _first(self) -> _Asked | None:
        """Return the request that waits; None if there is none. The first one must be the prompt."""
        if not self.begun:
            self.begun = True
            if (asked := self._next()) is not None and _shown(asked.messages) != _shown(self.problem.messages):
                raise ValueError("the environment changes the prompt when a rollout begins: put it into the dataset")
        return self.asked

    def _next(self) -> _Asked | None:
        """Wait for the next request and return it; None if the rollout is over. Raises what ended it."""
        self.asked = self.said.get()
        if self.asked is None:
            self.reward.result()
        return self.asked

    async def _run(self) -> float:
        try:
            return await self._reward()
        except (SystemExit, KeyboardInterrupt) as error:  # of the environment's code: it would end the loop
            raise RuntimeError(f"{type(error).__name__}: {error}") from error

    async def _reward(self) -> float:
        client = _client_class()(self)
        state = await self.environment.rollout(self.problem.extra["row"], client, "policy", {"n": 1})
        if (error := state.get("error")) is not None:
            raise error.__cause__ or error
        if state.get("timed_out"):
            raise TimeoutError("the environment's own time limit has passed")
        if not state["trajectory"]:  # cut off in the first turn: there is nothing to score
            return 0.0
        rubric = self.environment.rubric
        await rubric.score_rollout(state)
        with suppress(AttributeError):  # versions before 0.1.12 have none
            await rubric.cleanup(state)
        return float(state["reward"])

    async def answer(self, messages: Sequence[Any]) -> Any:
        """Wait for the next turn of the policy. Called by the client."""
        future = asyncio.get_running_loop().create_future()
        self.said.put(_Asked(messages, future))
        return await future


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.beat = time.monotonic()
        threading.Thread(target=self._work, name="verifiers", daemon=True).start()

    @property
    def is_stuck(self) -> bool:
        """Whether some code in it has not returned for a long time."""
        return time.monotonic() - self.beat > STUCK

    def run(self, coroutine: Coroutine[Any, Any, float]) -> Future[float]:
        """Start a coroutine, and return its result to come."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def settle(self, future: asyncio.Future[Any], result: object) -> None:
        """Give a future its result, or an exception, unless it has been cancelled."""

        def give() -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        self.loop.call_soon_threadsafe(give)

    def _work(self) -> None:
        self.loop.call_soon(self._live)
        self.loop.run_forever()

    def _live(self) -> None:
        self.beat = time.monotonic()
        self.loop.call_later(BEAT, self._live)


@cache
def _client_class() -> Any:
    """Return the client: a class of the package, which is imported with the first environment."""
    clients: Any = import_module("verifiers.clients")

    class Client(clients.Client):  # type: ignore[misc]
        """Asks a `Rollout` for answers. Messages, tools and responses are the package's own."""

        def setup_client(self, config: object) -> object:
            raise TypeError("this client needs no config")

        async def to_native_tool(self, tool: object) -> object:
            return tool

        async def to_native_prompt(self, messages: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
            return messages, {}

        async def get_native_response(self, prompt: Sequence[Any], *_: object, **__: object) -> Any:
            return await self._client.answer(prompt)

        async def raise_from_native_response(self, response: object) -> None:
            return None

        async def from_native_response(self, response: object) -> object:
            return response

        async def close(self) -> None:
            return None

    return Client


def _response(text: str, turn: int, style: Style | None) -> Any:
    """Return a turn as a response of the package. What is no valid call stays text."""
    types: Any = import_module("verifiers.types")
    content, calls = text, list[ToolCall]()
    if style is not None:
        said = after_thinking(text)
        reader = CallReader(style)
        parts = [*reader.feed(said), *reader.finish()]
        calls = [part for part in parts if isinstance(part, ToolCall)]
        texts = [
            part.text if isinstance(part, BrokenCall) else part for part in parts if not isinstance(part, ToolCall)
        ]
        content = (text.removesuffix(said) + "".join(texts)).rstrip() if calls else text
    message = types.ResponseMessage(
        content=content,
        finish_reason="tool_calls" if calls else "stop",
        is_truncated=False,
        tool_calls=[
            types.ToolCall(id=f"call_{turn}_{number}", name=call.name, arguments=json.dumps(dict(call.arguments)))
            for number, call in enumerate(calls)
        ]
        or None,
    )
    return types.Response(id=f"turn_{turn}", created=0, model="policy", message=message)


def _shown(messages: Sequence[Any]) -> list[tuple[str, str]]:
    """Return (role, text) of each message, to compare conversations."""
    return [(message["role"], plain_text(message["content"] or "", "an episode")) for message in messages]


def _message(message: Any) -> Message:
    """Return a message of the environment."""
    if (role := message["role"]) not in ROLES:
        raise ValueError(f"the environment adds a message with the role {role!r}: must be one of {', '.join(ROLES)}")
    return Message(plain_text(message["content"], "an episode"), role)

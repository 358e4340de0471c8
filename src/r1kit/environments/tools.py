"""Tools in the form of the model's own chat template: the calculator and the Python tool, or tools of your own.

my_environment = Tools([PYTHON, my_tool])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from r1kit.environments.base import Environment, Message
from r1kit.errors import UserError
from r1kit.tools.base import Tool, ToolSession, success_rate
from r1kit.tools.builtin import BUILT_IN
from r1kit.tools.parse import Style, parse_tool_calls
from r1kit.tools.template import call_style
from r1kit.types import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_TURNS = 9  # eight with calls and an answer


class Tools:
    """The environment. Its tools stand in the prompts; a turn without a call is the last one."""

    stop = ()

    def __init__(self, tools: Sequence[Tool] = tuple(BUILT_IN.values()), max_turns: int = MAX_TURNS) -> None:
        self.offered, self.max_turns = tools, max_turns
        self.tools = [tool.definition() for tool in tools]
        self.style: Style | None = None

    def start(self, problem: Problem, seed: int) -> ToolEpisode:
        """See `Environment.start`."""
        if self.style is None:
            raise UserError(UNKNOWN_STYLE)
        return ToolEpisode(ToolSession(self.offered), self.style)


def set_call_style(environment: Environment, tokenizer: PreTrainedTokenizerBase) -> None:
    """Tell an environment with tools how the chat template writes calls.

    Raises:
        UserError: It offers tools, and the chat template shows none or has another form of calls.
    """
    if hasattr(environment, "style"):
        environment.style = call_style(tokenizer)
        if getattr(environment, "tools", ()) and environment.style is None:
            raise UserError(UNKNOWN_STYLE)


UNKNOWN_STYLE = (
    "the chat template of this model shows no tools, or calls in a form that is not known: use a model whose chat "
    "template has tools in the form of Hermes, Qwen, Llama 3 or Mistral"
)


class ToolEpisode:
    """The tools of one episode."""

    def __init__(self, session: ToolSession, style: Style) -> None:
        self.session, self.style = session, style

    def step(self, text: str) -> list[Message] | None:
        """See `Episode.step`. Calls inside of thinking are not run."""
        calls = parse_tool_calls(after_thinking(text), self.style).calls
        return [Message(self.session.call(call).text, "tool") for call in calls] or None

    def score(self) -> float:
        """See `Episode.score`: the share of calls that succeeded, 0 without any."""
        return success_rate(self.session.outcomes)

    def close(self) -> None:
        """See `Episode.close`."""


def after_thinking(text: str) -> str:
    """Return what a turn says after its thinking; "" if that does not end."""
    _, closed, rest = text.rpartition("</think>")
    return rest if closed else "" if "<think>" in text else text

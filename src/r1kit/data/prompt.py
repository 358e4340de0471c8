"""A problem's prompt: rendered and tokenized once, then used by the engine, the rewards and the learner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from r1kit.config import Prompting
from r1kit.data.problem_rows import NOT_UNICODE, is_unicode
from r1kit.data.template import (
    asks_for_answer_tags,
    encode_prompt,
    has_think_tags,
    opens_think,
    render_conversation,
    render_prompt,
)
from r1kit.errors import UserError
from r1kit.types import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of one problem under one template and tokenizer."""

    problem: Problem
    text: str  # what the model continues
    token_ids: tuple[int, ...]
    think_open: bool = False  # the text ends in `<think>`, so completions hold only `</think>`
    answer_tags: bool = False  # the template asks for `<answer>` tags
    think_tags: bool = False  # the template has think tags, so a response without them is not in its format

    def full_response(self, completion: str) -> str:
        """Return a completion with its opening think tag, also where the prompt holds that tag."""
        return f"<think>{completion}" if self.think_open else completion


def make_prompt(problem: Problem, style: Prompting, tokenizer: PreTrainedTokenizerBase) -> Prompt:
    """Render and tokenize the prompt of a problem. UserError if the question is not valid Unicode."""
    template = style.template
    text = _render(problem, style, tokenizer)
    if not is_unicode(text):
        raise UserError(f"problem {problem.id}: {NOT_UNICODE}")
    token_ids = tuple(encode_prompt(text, tokenizer))
    tags = opens_think(text), asks_for_answer_tags(template), has_think_tags(text, template, tokenizer)
    return Prompt(problem, text, token_ids, *tags)


def _render(problem: Problem, style: Prompting, tokenizer: PreTrainedTokenizerBase) -> str:
    asked = problem.prompt or problem.question
    if not problem.messages and not problem.tools:
        return render_prompt(asked + style.prompt_suffix, style.template, tokenizer, style.system_prompt)
    if style.template != "chat":
        needs = "a conversation needs" if problem.messages else "tools need"
        raise UserError(f'problem {problem.id}: {needs} template = "chat", not "{style.template}"')
    *before, last = problem.messages or ({"role": "user", "content": asked},)
    messages = [*before, {**last, "content": last["content"] + style.prompt_suffix}]
    return render_conversation(messages, tokenizer, style.system_prompt, problem.tools)


def make_prompts(problems: Sequence[Problem], style: Prompting, tokenizer: PreTrainedTokenizerBase) -> list[Prompt]:
    """Render and tokenize the prompt of every problem, in order."""
    return [make_prompt(problem, style, tokenizer) for problem in problems]

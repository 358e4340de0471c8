"""Which answers the grammar of a request with tools allows, token by token."""

from __future__ import annotations

import copy

import pytest

from r1kit.engine.live.constraint import Grammars
from r1kit.serve.calling.definitions import Choice
from r1kit.serve.calling.grammar import call_constraint
from r1kit.tools.parse import Style

ADD = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOLS = {"add": ADD, "noop": {"type": "object", "properties": {}, "additionalProperties": False}}
JSON = '{"name": "add", "arguments": {"a": 5}}'
CALL, NOOP = f"<tool_call>\n{JSON}\n</tool_call>", '<tool_call>\n{"name": "noop", "arguments": {}}\n</tool_call>'
LLAMA = JSON.replace("arguments", "parameters")
AUTO, REQUIRED, NAMED = Choice("auto"), Choice("required"), Choice("required", "add")


@pytest.fixture(scope="module", params=["spelt out", "added"])
def grammars(request, tokenizer) -> Grammars:
    """In some tokenizers, as Qwen's, the tags are tokens."""
    asked = copy.deepcopy(tokenizer)
    if request.param == "added":
        asked.add_tokens(["<tool_call>", "</tool_call>"])
    return Grammars(asked, len(asked), {asked.eos_token_id})


def may_end(grammars: Grammars, style: Style, choice: Choice, parallel: bool, text: str) -> bool:
    """Whether an answer may be this text, and end there."""
    schemas = {"add": ADD} if choice.name else TOOLS
    tokens = {str(added) for added in grammars.tokenizer.added_tokens_decoder.values()}
    constraint = call_constraint(style, schemas, choice, parallel, tokens)
    assert constraint is not None
    grammar = grammars.compile(constraint)
    for token in grammars.tokenizer.encode(text, add_special_tokens=False):
        if not grammar.allowed()[token]:
            return False
        grammar.consume(token)
    return grammar.matcher.is_stopped() or bool(grammar.allowed()[grammars.stops[0]])


@pytest.mark.parametrize(
    ("style", "choice", "parallel", "allowed", "forbidden"),
    [
        ("hermes", AUTO, True, ["a < b", CALL, f"I add. {CALL}", CALL + CALL, f"{CALL}\n{NOOP} done"], []),
        ("hermes", AUTO, False, ["a < b", CALL, f"I add. {CALL}"], [CALL + CALL, f"{CALL} done"]),
        ("hermes", REQUIRED, True, [CALL, f"{CALL}\n{NOOP}"], ["text", f"I add. {CALL}", f"{CALL} done", JSON]),
        ("hermes", REQUIRED, False, [CALL, NOOP], ["", f"{CALL}\n{NOOP}"]),
        ("hermes", NAMED, False, [CALL], [NOOP]),
        ("openai", REQUIRED, True, [f"[{JSON}]", f"[{JSON}, {JSON}]"], ["[]", JSON, CALL]),
        ("openai", REQUIRED, False, [JSON], [f"[{JSON}]", LLAMA]),
        ("llama", REQUIRED, True, [LLAMA], [JSON, f"[{LLAMA}]"]),
    ],
)
def test_answers(
    grammars: Grammars, style: Style, choice: Choice, parallel: bool, allowed: list[str], forbidden: list[str]
) -> None:
    invalid = [text.replace("add", "sub") for text in allowed if "add" in text.replace("I add", "")]
    invalid += [text.replace("5", '"5"') for text in allowed if "5" in text]
    for text in allowed:
        assert may_end(grammars, style, choice, parallel, text), text
    for text in [*forbidden, *invalid]:
        assert not may_end(grammars, style, choice, parallel, text), text


def test_text_that_is_no_call_has_no_constraint() -> None:
    assert call_constraint("openai", TOOLS, AUTO, True) is None and call_constraint("llama", TOOLS, AUTO, True) is None

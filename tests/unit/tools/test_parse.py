"""Calls in completions: what is one, what only resembles one, and that pieces give the same as the complete text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.tools.base import BrokenCall, ToolCall
from r1kit.tools.parse import MAX_CALLS, CallReader, Style, parse_tool_calls

HERMES = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
CALL = ToolCall("call_0", "add", {"a": 1})


def in_pieces(pieces: list[str], style: Style) -> tuple[str, list[ToolCall | BrokenCall]]:
    reader = CallReader(style)
    parts = [part for piece in pieces for part in reader.feed(piece)] + reader.finish()
    text = "".join(part for part in parts if isinstance(part, str))
    return text.strip(), [part for part in parts if not isinstance(part, str)]


@pytest.mark.parametrize(
    ("style", "text", "content", "calls"),
    [
        ("hermes", f"Let me add.\n{HERMES}", "Let me add.", [CALL]),
        ("hermes", HERMES * 2, "", [CALL, ToolCall("call_1", "add", {"a": 1})]),
        ("hermes", "a < b, <tool", "a < b, <tool", []),
        ("hermes", '{"name": "add", "arguments": {}}', '{"name": "add", "arguments": {}}', []),
        ("openai", '{"name": "add", "arguments": {"a": 1}}', "", [CALL]),
        ("openai", '[{"name": "add", "arguments": "{\\"a\\": 1}"}]', "", [CALL]),
        ("openai", '{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}', "", [CALL]),
        ("openai", '{"tool_calls": [{"id": "x", "name": "add", "arguments": {"a": 1}}]}', "", [CALL]),
        ("openai", ' {"answer": 5}', '{"answer": 5}', []),
        ("openai", f"no call: {HERMES}", f"no call: {HERMES}", []),
        ("llama", '{"name": "add", "parameters": {"a": 1}}', "", [CALL]),
    ],
)
def test_calls_and_the_text_around_them(style: Style, text: str, content: str, calls: list[ToolCall]) -> None:
    assert parse_tool_calls(text, style) == (content, calls)
    assert in_pieces(list(text), style) == (content, calls)


@pytest.mark.parametrize(
    ("style", "text", "reason"),
    [
        ("hermes", "<tool_call>{broken</tool_call>", "not valid JSON"),
        ("hermes", '<tool_call>{"name": "add"}</tool_call>', "must be an object with name and arguments"),
        ("hermes", '<tool_call>{"name": "add", "arguments": {}, "x": 1}</tool_call>', "nothing else"),
        ("hermes", '<tool_call>{"name": "add", "arguments": "{}"}</tool_call>', "arguments must be an object"),
        ("hermes", '<tool_call>{"name": "rm -rf", "arguments": {}}</tool_call>', "name must be"),
        ("hermes", '<tool_call>{"name": "add", "name": "b", "arguments": {}}</tool_call>', "a key occurs twice"),
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": NaN}}</tool_call>', "NaN"),
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": ' + "[" * 99 + "</tool_call>", "nests deeper"),
        ("hermes", '<tool_call>{"name": "add", "arg', "does not end"),
        ("openai", '{"name": "add", "arguments": "{broken"}', "not valid JSON"),
        ("llama", '{"name": "add", "arguments": {}}', "name and parameters"),
    ],
)
def test_broken_calls_are_no_calls(style: Style, text: str, reason: str) -> None:
    content, [broken] = parse_tool_calls(text, style)
    assert not content and isinstance(broken, BrokenCall) and broken.text == text and reason in broken.reason


def test_a_closing_tag_within_a_string_does_not_end_a_call() -> None:
    arguments = {"text": 'a </tool_call> and \\" <tool_call>'}
    text = f'<tool_call>{{"name": "say", "arguments": {json.dumps(arguments)}}}</tool_call> then'
    assert in_pieces(list(text), "hermes") == ("then", [ToolCall("call_0", "say", arguments)])


def test_no_completion_has_more_calls_than_allowed() -> None:
    content, calls = parse_tool_calls(HERMES * (MAX_CALLS + 1), "hermes")
    assert len(calls) == MAX_CALLS and content == HERMES
    many = json.dumps([{"name": "add", "arguments": {}}] * (MAX_CALLS + 1))
    assert isinstance(parse_tool_calls(many, "openai").calls[0], BrokenCall)


PIECES = st.lists(st.sampled_from([HERMES, "<tool_call>", "</tool_call>", '"', "{", "\\", "a ", "<tool_", "call>"]))


@given(PIECES, st.sampled_from(["hermes", "openai", "llama"]))
def test_pieces_give_the_same_as_the_complete_text(pieces: list[str], style: Style) -> None:
    text = "".join(pieces)
    whole = parse_tool_calls(text, style)
    assert in_pieces(pieces, style) == in_pieces(list(text), style) == whole


@given(st.recursive(st.text() | st.integers() | st.booleans(), lambda each: st.lists(each), max_leaves=5))
def test_arguments_come_back(value: object) -> None:
    text = json.dumps({"name": "f", "arguments": {"x": value}}, ensure_ascii=False)
    for style, written in (("hermes", f"<tool_call>{text}</tool_call>"), ("openai", text)):
        assert parse_tool_calls(written, style) == ("", [ToolCall("call_0", "f", {"x": value})])

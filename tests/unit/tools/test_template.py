"""How chat templates write calls: found by rendering, not by the model's name."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import r1kit
from r1kit.data.template import CHAT_TEMPLATE, render_chat
from r1kit.tools.template import call_style

HERMES = (Path(r1kit.__file__).parent / "data" / "chat_templates" / "hermes.jinja").read_text()
TOOLS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
MESSAGE = "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}CALL{% endfor %}{% endfor %}"
LLAMA = '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}'


@pytest.mark.parametrize(
    ("template", "style"),
    [
        (HERMES, "hermes"),
        (TOOLS + MESSAGE.replace("CALL", LLAMA), "llama"),
        (TOOLS + MESSAGE.replace("CALL", LLAMA.replace("parameters", "arguments")), "openai"),
        (TOOLS + MESSAGE.replace("CALL", "<function={{ c.function.name }}>"), None),  # a form that is not read
        (TOOLS + MESSAGE.replace("CALL", ""), None),  # shows no calls
        (MESSAGE.replace("CALL", LLAMA), None),  # shows no tools
        (CHAT_TEMPLATE, None),
        ("{{ raise_exception('no tools') }}", None),
    ],
)
def test_the_style_of_a_template(tokenizer, template: str, style: str | None) -> None:
    asked = copy.deepcopy(tokenizer)
    asked.chat_template = template
    assert call_style(asked) == style


def test_the_hermes_template_without_tools_is_chatml(tokenizer) -> None:
    asked = copy.deepcopy(tokenizer)
    asked.chat_template = HERMES
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    text = "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert render_chat(messages, asked) == text
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": "é"}}}
    turns = [{"role": "assistant", "content": None, "tool_calls": [call, call]}]
    turns += [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    written = '<tool_call>\n{"name": "f", "arguments": {"a": "é"}}\n</tool_call>'
    assert render_chat([*messages, *turns], asked) == text.removesuffix("\n") + (
        f"\n{written}\n{written}<|im_end|>\n<|im_start|>user\n<tool_response>\n1\n</tool_response>\n"
        "<tool_response>\n2\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )

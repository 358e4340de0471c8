"""Tools in the form of the model's chat template: prompts show them, calls are run, results are framed together."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

import r1kit
from r1kit.config import Prompting
from r1kit.data.messages import MessageEncoder
from r1kit.data.prompt import make_prompt
from r1kit.data.template import render_chat
from r1kit.environments.base import Message
from r1kit.environments.named import environment_named
from r1kit.environments.tools import Tools, after_thinking
from r1kit.errors import UserError
from r1kit.tools.base import Tool
from r1kit.tools.calculator import CALCULATOR
from r1kit.tools.template import call_style
from r1kit.types import Problem

HERMES = (Path(r1kit.__file__).parent / "data" / "chat_templates" / "hermes.jinja").read_text()
# In the format of Llama 3.1: results of tools have the role ipython, and a call is the complete answer.
LLAMA = (
    "{{ bos_token }}{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}{% for m in messages %}"
    "{{ '<|head|>' + ('ipython' if m.role == 'tool' else m.role) + '<|/head|>\n\n' + (m.content or '') }}"
    '{% for c in m.tool_calls or [] %}{"name": "{{ c.function.name }}", '
    '"parameters": {{ c.function.arguments | tojson }}}{% endfor %}<|eot_id|>{% endfor %}'
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
ASKED = Problem("p", "What is 12*34?", "408")


def calculators() -> Tools:
    return Tools([CALCULATOR])


def call(expression: str) -> str:
    return f'<tool_call>\n{{"name": "{CALCULATOR.name}", "arguments": {{"expression": "{expression}"}}}}\n</tool_call>'


@pytest.fixture
def hermes(tokenizer):
    asked = copy.deepcopy(tokenizer)
    asked.chat_template = HERMES
    return asked


def test_turns_call_tools_until_one_does_not() -> None:
    environment = calculators()
    environment.style = "hermes"
    episode = environment.start(ASKED, 0)
    assert episode.step(f"<think>{call('1')}</think>Sums: {call('12*34')}{call('1/0')}") == [
        Message("408", "tool"),
        Message("error: division by zero", "tool"),
    ]
    assert "there is no tool 'f'" in episode.step('<tool_call>{"name": "f", "arguments": {}}</tool_call>')[0].content
    assert episode.step("408") is None and episode.score() == 1 / 3
    assert environment.start(ASKED, 0).score() == 0, "nothing is shared between episodes"


def test_thinking_calls_nothing() -> None:
    assert after_thinking("<think>a</think>b</think>c") == "c"
    assert after_thinking("<think>a") == "" and after_thinking("a") == "a"


@pytest.mark.parametrize(("template", "style"), [(HERMES, "hermes"), (LLAMA, "llama")])
def test_the_prompt_shows_the_tools_in_the_form_of_the_template(tokenizer, template: str, style: str) -> None:
    asked = copy.deepcopy(tokenizer)
    asked.chat_template = template
    assert call_style(asked) == style
    definition = CALCULATOR.definition()
    problem = Problem("p", ASKED.question, "408", tools=(definition,))
    prompt = make_prompt(problem, Prompting(template="chat", system_prompt="Be brief.", prompt_suffix=" Go."), asked)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 12*34? Go."}]
    assert prompt.text == render_chat(messages, asked, [definition])
    assert CALCULATOR.description in prompt.text


def test_tools_need_a_template_that_shows_them(chat_tokenizer) -> None:
    problem = Problem("p", ASKED.question, "408", tools=(CALCULATOR.definition(),))
    with pytest.raises(UserError, match="does not show the tools calculator"):
        make_prompt(problem, Prompting(template="chat"), chat_tokenizer)
    with pytest.raises(UserError, match='problem p: tools need template = "chat", not "r1-zero"'):
        make_prompt(problem, Prompting(), chat_tokenizer)
    with pytest.raises(UserError, match='problem p: a conversation needs template = "chat", not "none"'):
        make_prompt(
            Problem("p", "q", "a", messages=({"role": "user", "content": "q"},)),
            Prompting(template="none"),
            chat_tokenizer,
        )
    with pytest.raises(UserError, match="calls in a form that is not known"):
        calculators().start(problem, 0)


@pytest.mark.parametrize("template", [HERMES, LLAMA])
def test_results_are_framed_as_in_a_conversation(tokenizer, template: str) -> None:
    asked = copy.deepcopy(tokenizer)
    asked.chat_template = template
    before = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    said = [("tool", "408"), ("tool", "error: no <|im_end|>"), ("user", "Well?")]
    rendered = render_chat([*before, *({"role": role, "content": text} for role, text in said)], asked)
    ids = MessageEncoder(asked).encode_all(said, after_end=False)
    assert asked.decode(ids) == rendered.partition("Hello.")[2]


def test_the_table_has_both_tools_and_users_have_their_own(tmp_path: Path) -> None:
    built_in = environment_named("tools")
    assert [tool["function"]["name"] for tool in built_in.tools] == ["calculator", "python"]
    (tmp_path / "own_tools_of_test.py").write_text(
        "from r1kit.environments.tools import Tools\nfrom r1kit.tools.base import Tool\n"
        "def start():\n    return lambda arguments: arguments['x'][::-1]\n"
        "schema = {'type': 'object', 'properties': {'x': {'type': 'string'}}, 'required': ['x']}\n"
        "mine = Tools([Tool('reverse', 'Reverse a text.', schema, start)], max_turns=3)\n"
    )
    own = environment_named("own_tools_of_test:mine", tmp_path)
    assert own.max_turns == 3 and isinstance(own, Tools) and isinstance(own.offered[0], Tool)
    own.style = "llama"
    result = own.start(ASKED, 0).step('{"name": "reverse", "parameters": {"x": "abc"}}')
    assert result == [Message("cba", "tool")]

"""Arguments of `r1kit serve`, and prompts of models."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit.data.template import CHAT_TEMPLATE, R1_ZERO_CHAT_TEMPLATE
from r1kit.engine.live.base import Constraint
from r1kit.engine.live.scripted import ScriptedLiveEngine
from r1kit.errors import UserError
from r1kit.serve.limits import Admission, Limits
from r1kit.serve.load import engine_choice, load_models, parse_names, parse_template
from r1kit.serve.model import ServedModel
from r1kit.serve.requests import Message
from r1kit.web.refusal import Refused


def test_models_have_names(tmp_path: Path) -> None:
    assert parse_names(["sprout-base", "base=org/name"]) == {"sprout-base": "sprout-base", "base": "org/name"}
    (odd := tmp_path / "a=b").mkdir()
    assert parse_names([str(odd)]) == {str(odd): str(odd)}
    with pytest.raises(UserError, match="x: two models of this name; give one another name: NAME=b"):
        parse_names(["x=a", "x=b"])
    with pytest.raises(UserError, match="=a: must be MODEL or NAME=MODEL"):
        parse_names(["=a"])


def test_engines_and_templates_by_name() -> None:
    assert engine_choice("native").name == "native" and engine_choice("vllm").name == "vllm"
    assert engine_choice("http://a:1/,http://b:2").servers == ("http://a:1", "http://b:2")
    with pytest.raises(UserError, match="--engine tgi: must be native, vllm, or URLs"):
        engine_choice("tgi")
    assert parse_template(None) is None and parse_template("none") == "none"
    with pytest.raises(UserError, match="--template chatt: must be one of r1-zero, chat, none"):
        parse_template("chatt")


def test_a_base_model_is_served_as_rl_prompts_it_where_that_is_asked_for() -> None:
    (asked,) = load_models({"sprout-base": "sprout-base"}, "chat", engine_choice("native"), Limits())
    assert asked.template == "chat" and asked.tokenizer.chat_template == CHAT_TEMPLATE and asked.reads_conversations
    (default,) = load_models({"sprout-base": "sprout-base"}, None, engine_choice("native"), Limits())
    assert default.template == "r1-zero"


@pytest.mark.parametrize(("name", "value"), [("max_tokens", 0), ("max_queue", -1), ("seconds", 0.0)])
def test_limits_are_positive(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name} = {value}: must be at least"):
        Limits(**{name: value})


def test_the_time_to_wait_grows_with_the_queue() -> None:
    limits = Limits(max_concurrent=2, max_queue=8)
    admission = Admission(limits)
    admission.enter(10)
    waits = []
    for seconds in (0.0, 100.0, 1e6):
        with pytest.raises(Refused) as refused:
            admission.enter(4)
        waits.append(int(refused.value.headers["Retry-After"]))
        admission.leave(0, seconds)
    assert waits == sorted(waits) and waits[0] >= 1 and waits[-1] <= 60
    admission.leave(10, 1.0)
    admission.enter(10)


def conversation(*texts: str) -> list[Message]:
    roles = ["user", "assistant"] * len(texts)
    return [Message(role=role, content=text) for role, text in zip(roles, texts, strict=False)]


@pytest.fixture
def model(tokenizer) -> ServedModel:
    tokenizer.chat_template = CHAT_TEMPLATE
    yield ServedModel("m", tokenizer, "chat", ScriptedLiveEngine(tokenizer, lambda *_: ""))
    tokenizer.chat_template = None


def test_chat_templates_show_all_turns(model: ServedModel) -> None:
    prompt = model.chat_prompt(conversation("1+1?", "<think>hm</think>2", "and 2+2?"))
    text = model.tokenizer.decode(prompt.token_ids)
    assert "1+1?" in text and "and 2+2?" in text and "hm" not in text
    assert prompt.think_tags and not prompt.think_open and not prompt.answer_tags
    assert prompt.begun(Constraint("json_object")) == Constraint("json_object", after="</think>")
    for text in ("<think>hm</think>{}", "hm</think>{}"):  # what precedes the constrained part is no content
        assert prompt.parser(has_format=True).feed(text) == ("hm", "{}")


def test_a_prompt_that_opens_the_reasoning_is_known(model: ServedModel) -> None:
    model.tokenizer.chat_template = CHAT_TEMPLATE.replace("'Assistant:\\n' }}{% endif %}", "'<think>\\n' }}{% endif %}")
    prompt = model.chat_prompt(conversation("1+1?"))
    assert prompt.think_open and prompt.parser().feed("2</think>3") == ("2", "3")


def test_messages_that_a_template_leaves_out_are_refused(model: ServedModel) -> None:
    model.tokenizer.chat_template = R1_ZERO_CHAT_TEMPLATE
    assert model.chat_prompt(conversation("1+1?")).answer_tags
    with pytest.raises(Refused, match=r"messages\[0\]: the chat template of m leaves this user message out"):
        model.chat_prompt(conversation("1+1?", "2", "and 2+2?"))
    model.tokenizer.chat_template = "{{ raise_exception('no roles here') }}"
    with pytest.raises(Refused, match="refuses messages with the roles user: no roles here"):
        model.chat_prompt(conversation("1+1?"))

"""Prompt templates."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers_of_families import FAMILIES, tokenizer_of
from transformers import PreTrainedTokenizerFast

from r1kit.config import Prompting, Template
from r1kit.data.examples import encode
from r1kit.data.prompt import make_prompt
from r1kit.data.template import (
    CHAT_TEMPLATE,
    R1_ZERO_TEMPLATE,
    asks_for_answer_tags,
    end_of_answer,
    opens_think,
    render_chat,
    render_prompt,
    set_template,
    use_chat_template,
)
from r1kit.data.tokenizer import train_tokenizer
from r1kit.errors import UserError
from r1kit.types import Problem

THINK_CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<bot><think>\n{% endif %}"
)


def test_r1_zero_template_keeps_braces_in_the_question() -> None:
    question = r"What is {x} in \frac{1}{2} {question}?"
    prompt = render_prompt(question, "r1-zero", None)
    head, tail = R1_ZERO_TEMPLATE.split("{question}")
    assert prompt == head + question + tail
    assert prompt.startswith("A conversation between User and Assistant.") and prompt.endswith(" Assistant:")
    assert not opens_think(prompt)


def test_template_none_is_the_question() -> None:
    assert render_prompt("{x}?", "none", None) == "{x}?"


def test_only_r1_zero_asks_for_answer_tags() -> None:
    assert [asks_for_answer_tags(template) for template in ("r1-zero", "chat", "none")] == [True, False, False]


def test_template_chat_is_the_tokenizers_own() -> None:
    tokenizer = train_tokenizer(["some text"], 300, THINK_CHAT_TEMPLATE)
    prompt = render_prompt("1+1?", "chat", tokenizer)
    assert prompt == "<user>1+1?<bot><think>\n" and opens_think(prompt)


def test_template_chat_needs_a_chat_template() -> None:
    for tokenizer in (train_tokenizer(["some text"], 300), None):
        with pytest.raises(ValueError, match='no chat template; use "r1-zero"'):
            render_prompt("1+1?", "chat", tokenizer)


def test_unknown_template_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"template = 'r1': must be one of r1-zero, chat, none"):
        render_prompt("1+1?", "r1", None)


def test_bundled_chat_template_drops_the_thinking_of_earlier_turns() -> None:
    tokenizer = train_tokenizer(["some text"], 300, CHAT_TEMPLATE)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n2"},
        {"role": "user", "content": "2+2?"},
    ]
    text = render_chat(messages, tokenizer)
    assert text == "Be brief.\n\nUser: 1+1?\n\nAssistant:\n2<|endoftext|>\nUser: 2+2?\n\nAssistant:\n"


def test_set_template_renders_as_the_template_does() -> None:
    tokenizer = train_tokenizer(["some text"], 300)
    set_template(tokenizer, "none")
    assert not tokenizer.chat_template
    set_template(tokenizer, "chat")
    assert tokenizer.chat_template == CHAT_TEMPLATE
    set_template(tokenizer, "r1-zero")
    assert render_prompt("{x}?", "chat", tokenizer) == render_prompt("{x}?", "r1-zero", None)
    set_template(tokenizer, "chat")
    assert render_prompt("{x}?", "chat", tokenizer) == render_prompt("{x}?", "r1-zero", None), "an existing one stays"


def test_a_base_model_is_prompted_as_rl_prompts_it(capsys: pytest.CaptureFixture[str]) -> None:
    trained, measured = (train_tokenizer(["some text"], 300) for _ in range(2))
    set_template(trained, "chat")
    use_chat_template(measured, "r1-zero")
    assert not measured.chat_template and not capsys.readouterr().err
    use_chat_template(measured, "chat")
    assert render_prompt("1+1?", "chat", measured) == render_prompt("1+1?", "chat", trained)
    assert "the tokenizer has no chat template" in capsys.readouterr().err
    own = train_tokenizer(["some text"], 300, THINK_CHAT_TEMPLATE)
    use_chat_template(own, "chat")
    assert own.chat_template == THINK_CHAT_TEMPLATE and not capsys.readouterr().err


@pytest.mark.parametrize("template", ["r1-zero", "chat", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_bos_begins_every_prompt_of_a_tokenizer_that_prepends_it_once(family: str, template: Template) -> None:
    tokenizer, (_, bos, prepends, *_, chat_template, _) = tokenizer_of(family), FAMILIES[family]
    if template == "chat" and chat_template is None:
        set_template(tokenizer, "chat")
    ids = make_prompt(Problem("p", "1+1?", "2"), Prompting(template=template), tokenizer).token_ids
    if prepends:
        assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
        if template != "chat":
            assert list(ids) == tokenizer.encode(render_prompt("1+1?", template, tokenizer)), "as transformers encodes"
    elif bos is None or template != "chat":
        assert tokenizer.bos_token_id not in ids
    [document] = encode([(render_prompt("1+1?", template, tokenizer), "2")], tokenizer, close=False)
    assert tuple(document.tokens[: document.prompt_length]) == ids, "supervised training begins prompts alike"


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_end_with_the_token_of_the_chat_template(family: str) -> None:
    tokenizer, end = tokenizer_of(family), FAMILIES[family][-1]
    assert tokenizer.convert_ids_to_tokens(end_of_answer(tokenizer)) == end
    [document] = encode([("1+1?", "2")], tokenizer, close=True)
    assert document.tokens[-1] == end_of_answer(tokenizer)


@pytest.mark.parametrize("template", ["r1-zero", "chat"])
@pytest.mark.parametrize("family", FAMILIES)
def test_saved_tokenizer_prompts_and_stops_as_trained(family: str, template: Template, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    ending = end_of_answer(tokenizer)
    set_template(tokenizer, template)
    trained = make_prompt(Problem("p", "1+1?", "2"), Prompting(template=template), tokenizer).token_ids
    tokenizer.save_pretrained(tmp_path)
    saved = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    messages = [{"role": "user", "content": "1+1?"}]
    prompt = saved.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert tuple(prompt) == trained
    assert saved.eos_token_id == ending == end_of_answer(saved)


def test_template_that_shows_no_answers_leaves_eos() -> None:
    for chat_template in (
        "{{ messages[-1]['content'] }}",
        "{% if messages[-1]['role'] == 'assistant' %}{{ raise_exception('no') }}{% endif %}",
        "{% for m in messages %}{{ m['content'] }}. {% endfor %}",
    ):
        tokenizer = tokenizer_of("qwen2.5-base")
        tokenizer.chat_template = chat_template
        assert end_of_answer(tokenizer) == tokenizer.eos_token_id


def test_system_prompt_and_suffix() -> None:
    style = Prompting(template="chat", system_prompt="Be brief.", prompt_suffix="\nBox it.")
    prompt = make_prompt(Problem("p", "1+1?", "2"), style, tokenizer_of("qwen2.5-base"))
    assert prompt.text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?\nBox it.<|im_end|>\n<|im_start|>assistant\n"
    )
    suffixed = make_prompt(Problem("p", "1+1?", "2"), Prompting(prompt_suffix="\nBox it."), tokenizer_of("gemma"))
    assert suffixed.text == render_prompt("1+1?\nBox it.", "r1-zero", None)


@pytest.mark.parametrize(
    ("family", "message"), [("gemma", "refuses messages with the roles system, user"), ("mistral", "leaves it out")]
)
def test_chat_template_without_a_system_role_is_refused(family: str, message: str) -> None:
    style = Prompting(template="chat", system_prompt="Be brief.")
    with pytest.raises(UserError, match=message):
        make_prompt(Problem("p", "1+1?", "2"), style, tokenizer_of(family))


def test_system_prompt_needs_a_chat_template() -> None:
    with pytest.raises(ValueError, match='system_prompt with template = "r1-zero", which has no roles'):
        Prompting(system_prompt="Be brief.")


@pytest.mark.parametrize(
    ("family", "template", "question", "expected"),
    [
        ("qwen2.5-base", "r1-zero", "q", True),
        ("qwen2.5-base", "chat", "q", False),
        ("qwen2.5-base", "none", "q", False),
        ("qwen2.5-base", "none", "Answer as <think>thoughts</think> answer. q", True),
        ("r1-distill", "chat", "q", True),
    ],
)
def test_think_tags_are_expected_where_the_template_has_them(
    family: str, template: Template, question: str, expected: bool
) -> None:
    prompt = make_prompt(Problem("p", question, ""), Prompting(template=template), tokenizer_of(family))
    assert prompt.think_tags is expected

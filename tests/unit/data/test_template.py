import json

import pytest
from paths import SHARED

from r1kit.data.response import find_boxes, split_response
from r1kit.data.template import R1_ZERO_TEMPLATE, opens_think, render_prompt
from r1kit.data.tokenizer import train_tokenizer
from r1kit.rewards.checks.format import is_well_formed

ADVERSARIAL = SHARED / "vectors/adversarial.jsonl"
CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<bot><think>\n{% endif %}"
)


def test_a_question_with_braces_is_put_into_the_template_as_it_is():
    question = r"What is {x} in \frac{1}{2} {question}?"
    prompt = render_prompt(question, "r1-zero", None)
    head, tail = R1_ZERO_TEMPLATE.split("{question}")
    assert prompt == head + question + tail
    assert prompt.startswith("A conversation between User and Assistant.") and prompt.endswith(" Assistant:")
    assert render_prompt(question, "none", None) == question
    assert not opens_think(prompt)


def test_the_chat_template_is_the_tokenizers_own():
    tokenizer = train_tokenizer(["some text"], 300, CHAT_TEMPLATE)
    prompt = render_prompt("1+1?", "chat", tokenizer)
    assert prompt == "<user>1+1?<bot><think>\n" and opens_think(prompt)
    with pytest.raises(ValueError, match="r1-zero"):
        render_prompt("1+1?", "chat", train_tokenizer(["some text"], 300))
    with pytest.raises(ValueError, match="unknown template 'r1'.*r1-zero"):
        render_prompt("1+1?", "r1", tokenizer)


@pytest.mark.parametrize(
    ("text", "think_open", "thinking", "answer", "summary"),
    [
        ("<think> a </think> <answer> 5 </answer>", False, "a", "5", "<answer> 5 </answer>"),
        (" a </think> 5", True, "a", None, "5"),
        (" a </think> 5", False, "a", None, "5"),  # R1 since February 2025: the prompt opened it
        ("5", False, None, None, "5"),
        ("still going", True, "still going", None, "still going"),
        ("so <think> still", False, "still", None, "so <think> still"),
        ("<think>a</think>b</think><answer>1</answer><answer>2</answer>", False, "a</think>b", "2", None),
        ("<think>a</think></answer>5<answer>", False, "a", None, None),
    ],
)
def test_a_response_is_taken_apart(text, think_open, thinking, answer, summary):
    response = split_response(text, think_open)
    assert (response.thinking, response.answer) == (thinking, answer)
    assert summary is None or response.summary == summary


@pytest.mark.parametrize(
    ("text", "think_open", "answer_tags", "good"),
    [
        ("<think>r</think>5", False, False, True),
        ("\n <think>r</think>5", False, False, True),
        ("r</think>5", True, False, True),
        ("<think>r</think>5", True, False, False),  # opened twice
        ("r</think>5", False, False, False),
        ("Well, <think>r</think>5", False, False, False),
        ("<think>\u200b</think>5", False, False, False),
        ("<think>r</think> \n", False, False, False),
        ("<think>r</think>5</think>6", False, False, False),
        ("<think>r</think> <answer>5</answer>\n", False, True, True),
        ("<think>r</think> 5", False, True, False),
        ("<think>r</think> <answer> </answer>", False, True, False),
        ("<think>r</think> <answer>5</answer> User: and now?", False, True, False),
        ("<think>r</think> <answer>5</answer><answer>6</answer>", False, True, False),
        ("<think>r</think> </answer>5<answer>", False, True, False),
        ("<think>r <answer>5</answer></think> 5", False, True, False),
    ],
)
def test_the_format_reward(text, think_open, answer_tags, good):
    assert is_well_formed(text, think_open=think_open, answer_tags=answer_tags) is good


@pytest.mark.skipif(not ADVERSARIAL.exists(), reason="needs shared data")
def test_the_format_reward_on_adversarial_responses():
    rows = [row for row in map(json.loads, ADVERSARIAL.open()) if row["kind"] == "format"]
    assert rows
    for row in rows:
        if row["policy"] != "either":
            good = is_well_formed(row["response"], think_open=False, answer_tags=False)
            assert good == bool(row["expected"]), row


def test_boxes_hold_nested_and_escaped_braces():
    assert find_boxes(r"a \boxed{\frac{1}{\sqrt{2}}} b \fbox{ \{1,2\} } c \boxed 7$") == [
        r"\frac{1}{\sqrt{2}}",
        r"\{1,2\}",
        "7",
    ]
    assert find_boxes(r"\boxed{1} \boxed{2") == []
    assert find_boxes("none") == []

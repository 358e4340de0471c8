"""Splitting completions into thinking, summary, tagged answer and boxes."""

import pytest

from r1kit.data.response import find_boxes, split_response


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
def test_split_response(text, think_open, thinking, answer, summary):
    response = split_response(text, think_open)
    assert (response.thinking, response.answer) == (thinking, answer)
    assert summary is None or response.summary == summary


@pytest.mark.parametrize(
    ("text", "think_open", "unfinished"),
    [
        ("5", False, False),
        ("<think>r</think>5", False, False),
        ("r</think>5", True, False),
        ("r</think>5", False, False),  # the closing tag without the opening one
        ("<think>r", False, True),
        ("so <think> still", False, True),
        ("r", True, True),
        ("", True, True),
        ("<think>r</think>5 <think>", False, True),  # opened a second time
        ("r</think>5 <think>", True, True),
        ("<think>r <think>r</think>5", False, False),
    ],
)
def test_unfinished_response_never_closes_its_think_tag(text, think_open, unfinished):
    assert split_response(text, think_open).unfinished is unfinished


def test_find_boxes_with_nested_and_escaped_braces():
    assert find_boxes(r"a \boxed{\frac{1}{\sqrt{2}}} b \fbox{ \{1,2\} } c \boxed 7$") == [
        r"\frac{1}{\sqrt{2}}",
        r"\{1,2\}",
        "7",
    ]
    assert find_boxes(r"\boxed{1} \boxed{2") == []
    assert find_boxes("none") == []

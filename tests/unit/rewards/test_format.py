"""The format reward."""

import json

import pytest
from public_data import fixture_and_shared

from r1kit.rewards.checks.format import is_well_formed
from r1kit.rewards.reply import Reply


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
def test_is_well_formed(text, think_open, answer_tags, good):
    assert is_well_formed(Reply(text, think_open, answer_tags=answer_tags)) is good


@fixture_and_shared("rewards", "vectors/adversarial.jsonl")
def test_is_well_formed_on_adversarial_responses(path):
    rows = [row for row in map(json.loads, path.open()) if row["kind"] == "format" and row["policy"] != "either"]
    assert rows
    for row in rows:
        assert is_well_formed(Reply(row["response"], answer_tags=False)) == bool(row["expected"]), row

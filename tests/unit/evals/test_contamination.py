"""Overlap of texts with evaluation sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.evals.contamination import Contamination, check_rows, normalize
from r1kit.types import Problem

LONG = "If seven birds sit on a long wire and three of them fly away, how many are left?"
BENCHMARKS = Contamination({"birds": [Problem("a", LONG, "4")], "sums": [Problem("b", "What is  7+6?", "13")]})


@pytest.mark.parametrize(
    ("text", "benchmark"),
    [
        (LONG, "birds"),
        ("Riddle: IF SEVEN birds, sit on a long wire - and three!", "birds"),
        ("seven birds sit on a long wire and three", None),  # nine words
        ("Three of seven birds that sit on a wire fly away. How many are left?", None),  # a paraphrase
        ("what is 7+6?", "sums"),
        ("What is 7*6?", None),
        ("What is 7+6? And what is 7*6?", None),
    ],
)
def test_overlap_is_ten_words_in_a_row_or_a_complete_short_question(text: str, benchmark: str | None) -> None:
    assert BENCHMARKS.find(text) == BENCHMARKS.find("nothing", text) == benchmark


def test_length_of_the_overlap_can_be_set() -> None:
    benchmarks = Contamination({"birds": [Problem("a", LONG, "4")]}, n=9)
    assert benchmarks.find("seven birds sit on a long wire and three") == "birds"


def test_chinese_characters_count_as_words() -> None:
    benchmarks = Contamination({"zh": [Problem("a", "小明有三个苹果，又买了五个，一共几个？", "8")]})
    assert benchmarks.find("题：小明有三个苹果又买了五个") == "zh"
    assert benchmarks.find("小明有三个梨，又买了五个") is None


def test_normalize_keeps_signs() -> None:
    assert normalize(" What  IS\n7+6? ") == "what is 7+6?"
    assert normalize("7+6") != normalize("7*6")


def test_match_shows_all_that_is_in_common_at_one_place() -> None:
    match = BENCHMARKS.match("nothing", "Riddle: IF SEVEN birds, sit on a long wire - and three of them fly off.")
    assert match is not None and match.problem.id == "a" and match.benchmark == "birds"
    assert match.text == "if seven birds, sit on a long wire - and three of them fly"
    assert BENCHMARKS.match(f"{LONG}!").text == LONG.rstrip("?").lower()


def test_rows_are_compared_in_all_their_texts_and_answers_if_asked() -> None:
    answer = "First count the birds on the wire, then take away the three that flew off: four"
    problems = {"birds": [Problem("a", LONG, answer)], "sums": [Problem("b", "What is 7+6?", "13")]}
    rows = [
        {"messages": [{"role": "user", "content": f"So: {LONG}"}], "n": 3},
        {"question": "clean", "solution": None},
        {"question": "What  is 7+6?"},
        {"text": answer.upper()},
        {"text": "What is 7+6? I wonder."},
    ]
    found = check_rows(rows, Contamination(problems, answers=True))
    assert (found["rows"], found["contaminated"], found["benchmarks"]) == (5, 3, {"birds": 2, "sums": 1})
    assert [(each["row"], each["benchmark"]) for each in found["matches"]] == [(1, "birds"), (3, "sums"), (4, "birds")]
    assert check_rows(rows, Contamination(problems))["contaminated"] == 2
    assert check_rows([], Contamination(problems))["rows"] == 0


def test_command_shows_matches_with_a_benchmark(tmp_path: Path) -> None:
    bench, train = tmp_path / "aime.jsonl", tmp_path / "train.jsonl"
    bench.write_text(json.dumps({"problem": LONG, "answer": "4"}) + "\n")
    train.write_text('{"prompt": "clean"}\n' + json.dumps({"prompt": f"Q: {LONG}", "response": "4"}) + "\n")
    options = ["contamination", str(train), "--bench", "aime24", "--data", f"aime24={bench}"]
    shown = CliRunner().invoke(app, options)
    assert shown.exit_code == 0, shown.output
    assert "1 of 2 rows overlap: 1 with aime24" in shown.output and "row 2, aime24: if seven birds sit" in shown.output
    [found] = json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)["files"].values()
    assert found["matches"][0]["question"] == LONG and found["contaminated"] == 1
    none = CliRunner().invoke(app, [*options, "--ngram", "30"])
    assert none.output.strip().endswith("0 of 2 rows overlap")

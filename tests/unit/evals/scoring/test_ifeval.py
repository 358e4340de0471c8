"""IFEval as its authors' program counts, with rows of our own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from r1kit.data.store import DataError
from r1kit.evals.graders import grader_named
from r1kit.evals.scoring.ifeval import followed
from r1kit.evals.scoring.ifeval_checks import loose, strict
from r1kit.evals.scoring.registry import score_files
from r1kit.evals.task import find_task
from r1kit.rewards.reply import Reply


@pytest.mark.parametrize(
    ("name", "arguments", "reply", "follows"),
    [
        ("keywords:existence", {"keywords": ["rain", "w.nd"]}, "Rainy and windy", True),  # parts of words, patterns
        ("keywords:frequency", {"keyword": "la", "frequency": 3, "relation": "less than"}, "la la", True),
        ("keywords:forbidden_words", {"forbidden_words": ["rain"]}, "It was rainy", True),
        ("keywords:forbidden_words", {"forbidden_words": ["rain"]}, "Rain!", False),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a [b] c] and [d]", True),
        ("detectable_content:number_placeholders", {"num_placeholders": 1}, "[a\n]", False),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "bye\np. p. s more", True),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n  - two\n**bold**", True),
        ("detectable_format:constrained_response", {}, "my answer is yes.", False),  # capitals count
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "**both ways**", False),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and *two*", True),
        (
            "change_case:capital_word_frequency",
            {"capital_frequency": 2, "capital_relation": "at least"},
            "ASAP OK",
            True,
        ),
        ("language:response_language", {"language": "de"}, "1 + 1 = 2", True),  # no words: counts as followed
        ("punctuation:no_comma", {}, "  ", False),  # blank
        ("detectable_content:postscript", {"postscript_marker": " P.S. "}, "bye\nP. S. more", True),
        ("detectable_format:title", {}, "<<><>>", True),
        ("detectable_format:title", {}, "<<>> or <<\n>>", False),
        ("detectable_format:title", {}, ">> << >>", False),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "rain"},
            "'\"Rain' fell",
            True,
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "rain"},
            "\"'Rain' fell",
            False,
        ),
    ],
)
def test_checks_count_as_the_authors_program(name: str, arguments: dict[str, Any], reply: str, follows: bool) -> None:
    assert strict(reply, [(name, arguments)]) == [follows]


def test_loose_verdicts_take_the_best_of_eight_forms() -> None:
    bullets = ("detectable_format:number_bullet_lists", {"num_bullets": 1})
    comma = ("punctuation:no_comma", {})
    reply = "Sure, here it is:\n- one"
    assert strict(reply, [comma, bullets]) == [False, True] and loose(reply, [comma, bullets]) == [True, True]
    assert loose("a, b\nc\nd, e", [comma]) == [True] and loose("a, b", [comma]) == [False]


def test_prompts_are_found_by_key_near_the_file_or_in_the_row(tmp_path: Path) -> None:
    (tmp_path / "ifeval").mkdir()
    (tmp_path / "recorded").mkdir()
    prompts = [{"key": 7, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}]
    (tmp_path / "ifeval" / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    rows: list[dict[str, Any]] = [
        {"model": "m", "key": 7, "response": "Sure, yes\nno comma", "strict": [False], "loose": [True]},
        {"model": "m", **prompts[0], "response": "fine", "strict": [True], "loose": [True]},
        {"model": "m", **prompts[0], "response": "a, b", "strict": [True], "loose": [False]},  # recorded wrongly
    ]
    path = tmp_path / "recorded" / "r.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = score_files("ifeval", [path], "strict")
    assert found["agreement"] == pytest.approx(2 / 3)
    assert found["metrics"]["models"]["m"]["prompt_loose"] == pytest.approx(200 / 3)
    assert score_files("ifeval", [path], "loose")["agreement"] == 1
    path.write_text(json.dumps({"key": 8, "response": "x"}))
    with pytest.raises(DataError, match="line 1: key = 8: no such prompt among the 1"):
        score_files("ifeval", [path])


def test_evaluations_report_prompts_and_instructions() -> None:
    """Three replies: all instructions followed, all only without the first line, and an empty one."""
    row = {
        "prompt": "Write two bullet points in lower case.",
        "instruction_id_list": ["change_case:english_lowercase", "detectable_format:number_bullet_lists"],
        "kwargs": [{}, {"num_bullets": 2}],
    }
    problem = find_task("ifeval").problem(row)
    assert problem is not None
    grader = grader_named(problem.verifier)
    rows = []
    for text in (
        "the list of my fruit:\n* apples\n* pears",
        "Fruit:\n* these are apples\n* and these are pears",
        "</think>",
    ):
        verdict = grader.judge(grader.read(problem), Reply(f"thinking</think>{text}", think_open=True))
        rows.append({"prompt_id": problem.id, "extracted": verdict.extracted, "status": verdict.status})
    assert [row["status"] for row in rows] == ["right", "wrong", "unparseable"]
    shares = {"prompt_strict": 1, "prompt_loose": 2, "instruction_strict": 3 / 2, "instruction_loose": 4 / 2}
    assert followed([problem], rows) == pytest.approx({name: share / 3 for name, share in shares.items()})
    assert followed([replace(problem, verifier="math")], rows) == {}

"""Answers that scorers read from outputs, and files that they refuse."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.evals.scoring.arena_hard import battles_of, verdict_of
from r1kit.evals.scoring.drop import best_score, drop_score
from r1kit.evals.scoring.livecodebench import extract_code
from r1kit.evals.scoring.mmlu_pro import letter_of
from r1kit.evals.scoring.registry import SCORERS, score_files
from r1kit.evals.scoring.zero_eval import extract_answer, same_number
from r1kit.evals.task import find_task


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "letter", "letter_of_two_stages"),
    [
        ("So the answer is (C).", "C", "C"),
        ("the answer is B, no, the answer is D", "B", "B"),  # the first
        ("Answer: E or Answer: F\nAnswer: G", "F", "F"),  # the last of the first line
        ("Answer:\n\nH", "H", "H"),
        ("Answer: Answer: B", "B", "B"),
        ("The Answer is (D)", "D", None),  # a capital letter in the sentence
        ("I would take C because J", "J", None),
        ("none of these", None, None),
        ("the answer is (K)", None, None),
    ],
)
def test_mmlu_pro_reads_the_letter_in_three_stages(text: str, letter: str, letter_of_two_stages: str) -> None:
    assert letter_of(text) == letter and letter_of(text, stages=2) == letter_of_two_stages


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"reasoning": "two {nested} braces", "answer": "18"} {"answer": "3"}', "18"),
        ('```json\n{"reasoning": "line\nbreak", "answer": 18}\n```', "18"),
        ('{"reasoning": "\\frac{1}{2}", "answer": "1/2"}', "1/2"),  # \f is no JSON escape that ends a word
        ('{"reasoning": "\\sqrt{2}", "answer": "7"}', "7"),  # invalid JSON
        ('{"reasoning": "cut off", "answer": 42, "x', "42"),
        ("answer: 12", "12"),
        ("no number", None),
        ("{" * 1000, None),
        ('{"reasoning": "no solution", "answer": null}', None),
        ('{"reasoning": "\\sqrt", "answer": ""}', None),
        ('{"reasoning": "zero", "answer": 0}', "0"),
    ],
)
def test_zero_eval_reads_the_answer_of_the_first_object(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("gold", "answer", "is_same"),
    [
        ("# 18", "$18.00", True),
        ("1,200", "1200 miles", True),
        ("0.5", "1/2", True),
        ("3", "1/0", False),
        ("3.5", "(3 + 4) / 2", True),
        ("0.5", "2 ** 3 / 16", False),  # only + - * and /: the first number is 2
        ("3", "3/4 cups", True),  # no arithmetic: the first number is 3
        ("-4", "4", False),
        ("x", "x", False),  # without numbers, no answer is right
        ("5", "five", False),
        ("9" * 400, "8" * 400, False),  # both overflow a float
    ],
)
def test_zero_eval_compares_first_numbers(gold: str, answer: str, is_same: bool) -> None:
    assert same_number(gold, answer) == is_same


def test_livecodebench_takes_the_text_between_the_last_two_lines_with_fences() -> None:
    assert extract_code("```python\nold\n```\nBetter:\n```\nnew()\n\n```\nbye") == "new()\n"
    assert extract_code("```python\nnever closed") == extract_code("no code") == ""


@pytest.mark.parametrize(
    ("predicted", "gold", "em", "f1"),
    [
        (["the  Red Lions"], ["red lions"], 1, 1),
        (["12.0"], ["12"], 1, 1),
        (["a 3-point lead"], ["3 points"], 0, 0.4),
        (["seven points"], ["7 points"], 0, 0),  # the gold answer's number is missing
        (["Ann Lee", "Bo Ray"], ["Bo Ray", "Ann Lee"], 1, 1),
        (["Ann Lee"], ["Ann Lee", "Bo Ray"], 0, 0.5),
        (["x y", "x"], ["x", "x y"], 1, 1),  # pairs are chosen together, not one after the other
        (["x y z", "x y"], ["x y", "x"], 0, 0.75),
    ],
)
def test_drop_matches_spans(predicted: list[str], gold: list[str], em: float, f1: float) -> None:
    assert drop_score(predicted, gold) == pytest.approx((em, f1))


def test_drop_takes_the_best_alternative_for_each_metric() -> None:
    assert best_score(["two yards"], [["2"], ["two yards"], [" "]]) == (1, 1)
    assert best_score(["two"], [[" "]]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("I choose [[A>>B]].", "A>>B"),
        ("[[A=B]] ... once more: [[A=B]]", "A=B"),
        ("[[A>B]] but then [[B>A]]", None),
        ("A>B without brackets", None),
    ],
)
def test_arena_hard_verdicts_must_not_differ(text: str, verdict: str | None) -> None:
    assert verdict_of(text) == verdict


def test_strong_verdicts_count_three_battles() -> None:
    assert battles_of("A>>B", "A") == [1, 1, 1] and battles_of("B>A", "A") == [0]
    assert battles_of("A=B", "B") == battles_of("B=A", "A") == [0.5] and battles_of("A<<B", "B") == [1, 1, 1]
    assert battles_of("A><B", "A") == battles_of(None, "A") == []


def test_gsm8k_and_math500_agree_if_all_answers_of_a_row_do(tmp_path: Path) -> None:
    solved = {"solution": "2 + 3 = 5\nA: 5", "is_correct": True}
    wrong = {"solution": "A: 6", "is_correct": True}  # recorded wrongly
    path = write(tmp_path / "g.jsonl", {"ground_truth": "A: 5", "m": solved}, {"ground_truth": "A: 5", "m": wrong})
    found = score_files("gsm8k", [path], "is_correct")
    assert (found["n"], found["agreement"], found["metrics"]["models"]["m"]["accuracy"]) == (2, 0.5, 50)
    answers = {"gt": "\\frac12", "pred": ["0.5", "1/2", "3", "3"], "score": [True, True, False, False]}
    path = write(tmp_path / "q.jsonl", {**answers, "rm": [0, 1, 9, 2]})
    found = score_files("math500", [path], "score")
    assert found["agreement"] == 1
    expected = {"pass@1": 50, "maj@4": 50, "maj@4 first": 100, "pass@4": 100, "rm@4": 0, "unparsed": 0}
    assert expected.items() <= found["metrics"].items() and found["metrics"]["vote_curve"]["maj@1"] == 50


def test_own_samples_are_graded_again_by_the_benchmarks_grader(tmp_path: Path) -> None:
    rows = [{"problem": f"Add 2 and {n}.", "answer": str(2 + n), "level": n, "subject": "Sums"} for n in (3, 4)]
    data, samples = write(tmp_path / "data.jsonl", *rows), []
    for row in rows:
        problem = find_task("math500").problem(row)
        assert problem is not None
        texts = {f"so \\boxed{{{row['answer']}.0}}": True, "\\boxed{9}": False, "<think>never ends": False}
        texts |= {f"sure</think>\\boxed{{{row['answer']}}}": True}
        for text, correct in texts.items():
            sample = {"benchmark": "math500", "prompt_id": problem.id, "completion": text, "correct": correct}
            samples += [{**sample, "think_open": text.startswith("sure")}, {**sample, "benchmark": "aime24"}]
    path = write(tmp_path / "samples.jsonl", *samples)
    found = score_files("math500", [path], "correct", data)
    assert (found["n"], found["agreement"]) == (8, 1)
    expected = {"problems": 2, "pass@1": 50, "unparsed": 25, "cons@4": 100, "pass@4": 100, "standard_error": 0}
    assert expected.items() <= found["metrics"].items() and set(found["metrics"]["levels"]) == {"3", "4"}
    other_data = write(tmp_path / "other.jsonl", rows[0])
    with pytest.raises(DataError, match=r"samples\.jsonl, line 9: prompt_id = .*no such problem in"):
        score_files("math500", [path], None, other_data)
    with pytest.raises(UserError, match=r"of mmlu, only samples\.jsonl of r1kit"):
        score_files("mmlu", [data])


def test_outputs_are_scored_without_their_thinking(tmp_path: Path) -> None:
    rows = [{"answer": "B", "output": "<think>the answer is (A)</think>the answer is (B)", "pred": "B"}]
    rows += [{"answer": "B", "output": ["<think>the answer is (B)"], "pred": None}]
    found = score_files("mmlu_pro", [write(tmp_path / "m.jsonl", *rows)], "pred")
    assert found["metrics"]["accuracy"] == 50 and found["metrics"]["unparsed"] == 50 and found["agreement"] == 1


@pytest.mark.parametrize(
    ("benchmark", "row", "message"),
    [
        ("mmlu_pro", {"answer": "B"}, r"bad\.jsonl, line 3: the field output or response .* is missing: .* answer"),
        ("mmlu_pro", {"answer": "B", "output": "B"}, r"line 3: the field pred is missing"),
        ("mmlu_pro", {"answer": "B", "output": None, "pred": "B"}, r"line 3: output = null: must be a text, or a list"),
        (
            "livecodebench",
            {"graded": [True, "yes"], "pred": 1},
            r'line 3: graded contains "yes": must be a list of true',
        ),
        ("drop", {"predicted": 3, "gold": ["3"], "pred": 1}, r"line 3: predicted = 3: must be a list of texts"),
        ("arena_hard", {"model": "m", "baseline": "b", "scores": [2]}, r"line 3: scores contains 2: must be 1"),
        ("math500", {"gt": "1"}, r"line 3: the field .*pred is missing"),
        ("livecodebench", {"model": "m"}, r"line 3: the field output .* is missing"),
    ],
)
def test_bad_rows_are_named_by_line_and_field(
    tmp_path: Path, benchmark: str, row: dict[str, Any], message: str
) -> None:
    good = {
        "mmlu_pro": {"answer": "B", "output": "B", "pred": "B"},
        "drop": {"predicted": "3", "gold": ["3"], "pred": 1},
        "arena_hard": {"model": "m", "baseline": "b", "scores": [1], "pred": [1]},
        "math500": {"gt": "1", "pred": ["1"]},
        "livecodebench": {"output": "", "pred": ""},
    }[benchmark]
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(good) + "\n\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        score_files(benchmark, [path], "pred")


def test_unknown_benchmarks_get_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'arena': did you mean arena_\w+\?"):
        score_files("arena", [tmp_path / "x.jsonl"])


def test_text_and_json_of_the_command(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", {"predicted": ["3"], "gold": ["3", "4"], "f1": 0.5})
    text = CliRunner().invoke(app, ["score", "drop", str(path), "--against", "f1"]).stdout
    assert text.splitlines() == [
        "drop: 1 rows",
        "  em  0.00",
        "  f1  50.00",
        "agreement with the recorded verdicts: 100.00 %",
    ]
    found = json.loads(CliRunner().invoke(app, ["score", "drop", str(path), str(path), "--json"]).stdout)
    assert found == {"benchmark": "drop", "n": 2, "metrics": {"em": 0, "f1": 50}, "agreement": None}
    done = CliRunner().invoke(app, ["score", "drop", str(tmp_path / "none.jsonl")])
    assert isinstance(done.exception, UserError) and "no such file" in str(done.exception)


HOSTILE = [
    "x",
    "answer: ",
    "{",
    "[[",
    "A ",
    "\n",
    "```\n",
    "* ",
    " ",
    "- \n",
    '"answer": "',
    "1/",
    "**",
    "<<",
    "<think>",
]
FIELDS = {"answer": "3", "gold": ["3"]}


@pytest.mark.parametrize("benchmark", sorted(SCORERS.keys() - {"alpaca_eval", "codeforces", "arena_hard", "ifeval"}))
def test_time_is_linear_in_the_length_of_an_answer(tmp_path: Path, benchmark: str) -> None:
    texts = [(unit * 100_000)[:100_000] for unit in HOSTILE]
    rows = [{**FIELDS, "output": text, "predicted": text, "judgment": text} for text in texts]
    path = write(tmp_path / "long.jsonl", *rows)
    start = time.process_time()
    score_files(benchmark, [path])
    assert time.process_time() - start < 10, "about a second on an idle core; minutes with a quadratic pattern"

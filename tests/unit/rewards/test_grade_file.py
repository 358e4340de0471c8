"""`r1kit grade`: requests in, verdicts out, one JSON object per line."""

import importlib.util
import io
import json
import subprocess
import sys
import time

import pytest
from paths import ROOT
from public_data import FIXTURES, fixture_and_shared

from r1kit.rewards import services
from r1kit.rewards.grade_file import KINDS, MAX_LINE_BYTES, grade_line, grade_stream
from r1kit.rewards.verifiers import VERIFIERS

_spec = importlib.util.spec_from_file_location("grade_sweep", ROOT / "tests/fuzz/grade_sweep.py")
grade_sweep = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(grade_sweep)

OPTIONS = ["red", "green", "blue", "grey"]
QUIZ = "You meet 2 inhabitants: Ann, and Bob. Ann says so. Who is who?"
CASES = [
    ({"kind": "math", "gold": "5", "response": "5"}, 1),
    ({"kind": "math", "gold": 5, "response": "<think>x</think> The answer is \\boxed{5}."}, 1),
    ({"kind": "math", "gold": "1/2", "response": "```\n0.5\n```"}, 1),
    ({"kind": "math", "gold": "5", "response": "<think>5"}, 0),
    ({"kind": "math", "gold": "5", "response": ""}, 0),
    ({"kind": "math", "response": "5"}, None),
    ({"kind": "choice", "gold": "B", "options": OPTIONS, "response": "B"}, 1),
    ({"kind": "choice", "gold": 1, "options": OPTIONS, "response": "<think>hm</think>The answer is (B) green."}, 1),
    ({"kind": "choice", "gold": "green", "options": dict(zip("ABCD", OPTIONS, strict=True)),
     "response": "<answer>b</answer>"}, 1),
    ({"kind": "choice", "gold": "B", "options": OPTIONS, "response": "A or B"}, 0),
    ({"kind": "choice", "gold": "Q", "options": OPTIONS, "response": "B"}, None),
    ({"kind": "countdown", "problem": "Using the numbers [1, 2, 3], make an equation that equals 9.",
     "response": "<answer>(1+2)*3</answer>"}, 1),
    ({"kind": "countdown", "problem": {"numbers": [1, 2, 3], "target": 9}, "response": "(1+2)*3"}, 1),
    ({"kind": "countdown", "problem": "with the numbers 1, 2 and 3", "gold": "9", "response": "3*3"}, 0),
    ({"kind": "countdown", "gold": "9", "response": "3*3"}, None),
    ({"kind": "knights", "gold": {"Ann": True, "Bob": "knave"}, "response": "Bob is a knave and Ann is a knight."}, 1),
    ({"kind": "knights", "problem": QUIZ, "gold": [True, False],
     "response": "<answer>(1) Ann is a knight (2) Bob is a knave</answer>"}, 1),
    ({"kind": "knights", "gold": "Ann is a knight, and Bob is a knave.", "response": "Ann: knave, Bob: knave"}, 0),
    ({"kind": "knights", "gold": [True], "response": "Ann: knave"}, None),
    ({"kind": "knights", "gold": {"": True}, "response": "Ann: knight"}, None),
    ({"kind": "knights", "names": [1], "gold": [True], "response": "1 is a knight"}, None),
    ({"kind": "knights", "names": 1, "gold": "Ann is a knight", "response": "Ann is a knight"}, None),
    ({"kind": "knights", "gold": "A is a knight, B is a knave", "response": "A is a knight and B is a knave."}, 1),
    ({"kind": "knights", "gold": {"A": True, "B": False}, "response": "A: knave. b is a knight, B is a knave"}, 0),
    ({"kind": "ifeval", "constraints": ["punctuation:no_comma"], "response": "no comma"}, 1),
    ({"kind": "ifeval", "constraints": [{"id": "keywords:existence", "kwargs": {"keywords": ["a"]}},
     "punctuation:no_comma"], "response": "a, b"}, 0.5),
    ({"kind": "ifeval", "constraints": ["punctuation:comma"], "response": "a"}, None),
    ({"kind": "ifeval", "constraints": ["no_comma"], "response": "one, two"}, 0),
    ({"kind": "rules", "constraints": ["punctuation:no_comma"], "topic": "rain", "related": ["cloud", "wet"],
     "response": "Clouds bring the rain that makes the streets wet."}, 1),
    ({"kind": "rules", "constraints": ["punctuation:no_comma"], "topic": "rain", "related": ["cloud", "wet"],
     "response": "The trains were late on all of the days."}, 2 / 3),
    ({"kind": "rules", "constraints": ["punctuation:no_comma"], "response": "Rain."}, None),
    ({"kind": "rules_kept", "constraints": ["punctuation:no_comma"], "response": "no comma"}, 1),
    ({"kind": "prose", "response": "Clouds bring the rain that makes the streets wet."}, 1),
    ({"kind": "prose", "response": "Clouds bring the rain that makes the"}, 0),
    ({"kind": "on_topic", "topic": "rain", "related": ["cloud", "wet"], "response": "Clouds rain. It is wet."}, 1),
    ({"kind": "on_topic", "topic": "rain", "related": ["cloud", "wet"], "response": "It is raining."}, 0),
    ({"kind": "json", "constraints": {"required": ["a"]}, "response": '```json\n{"a": 1}\n```'}, 1),
    ({"kind": "json", "gold": {"type": "array"}, "response": "{}"}, 0),
    ({"kind": "json", "problem": {"schema": {"required": ["a"]}}, "response": "{}"}, 0),
    ({"kind": "json", "gold": '{"a": [1, 2]}', "response": '{"a": [1, 2.0]}'}, 1),
    ({"kind": "json", "response": "{"}, 0),
    ({"kind": "format", "response": "<think>r</think>x"}, 1),
    ({"kind": "format", "response": "x"}, 0),
    ({"kind": "language", "gold": "English", "response": "<think>Let us think about it for a while.</think> 好"}, 1),
    ({"kind": "language", "gold": "zh", "response": "Let us think about it for a while."}, 0),
    ({"kind": "language", "gold": "Klingon", "response": "Qapla"}, None),
    ({"kind": "exact", "gold": ["Paris", "the city"], "response": "paris."}, 1),
    ({"kind": "exact", "gold": "Paris", "response": "The answer is Rome."}, 0),
    ({"kind": "fuzzy", "gold": "the big red fox", "response": "big red fox, the"}, 1),
    ({"kind": "told", "gold": "Hello there.", "response": "<think>greet</think> hello there"}, 1),
    ({"kind": "told", "gold": "Hello there.", "response": "<think>greet</think> hello there, you"}, 0),
    ({"kind": "names", "gold": "Ann, Bob", "response": "Bob and Ann"}, 1),
    ({"kind": "accuracy", "gold": "4", "response": "4"}, None),
    ({"kind": "judge", "problem": "q", "gold": "5", "response": "5"}, None),
    ({"kind": "environment", "response": "x"}, None),
    ({"kind": "nope", "response": "x"}, None),
    ({"kind": ["math"], "gold": "5", "response": "x"}, None),
    ({"kind": "math", "gold": "5", "response": None}, None),
    ({"response": "x"}, None),
]  # fmt: skip
SANDBOXED = {"code", "cruxeval", "repository", "reasoning_gym"}
ADD = "```python\ndef add(a, b):\n    return a + b\n```"
LENGTH = "def f(text):\n    return len(text)\n"
PROGRAM_CASES = [
    ({"kind": "code", "tests": ["assert add(1, 2) == 3", "assert add(1, 2) == 4"], "response": ADD}, 0.5),
    ({"kind": "code", "gold": [[[1, 2], 3]], "entry_point": "add", "response": ADD}, 1),
    ({"kind": "code", "tests": [], "response": ADD}, None),
    ({"kind": "code", "tests": ["assert add(1, 2) == 3"], "language": "rust", "response": ADD}, None),
    ({"kind": "cruxeval", "gold": "3", "response": "[ANSWER]3[/ANSWER]"}, 1),
    ({"kind": "cruxeval", "gold": 3, "response": "f('abc') == 4"}, 0),
    ({"kind": "cruxeval", "gold": {"code": LENGTH, "output": "3"}, "mode": "input", "response": "f('abc')"}, 1),
    ({"kind": "cruxeval", "gold": "3", "problem": f"```python\n{LENGTH}```", "predict": "input", "response": "''"}, 0),
    ({"kind": "cruxeval", "gold": "3", "predict": "input", "response": "f('abc')"}, None),
    ({"kind": "cruxeval", "response": "f('abc')"}, None),
]
BROKEN = [
    b'""',
    b"not json",
    b"[1]",
    b'{"kind": "math"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"kind": "math", "gold": "5", "response": "5"} x',
    b"null",
]


@pytest.mark.parametrize(("row", "score"), CASES)
def test_verdict_on_one_line(row, score):
    verdict = grade_line(json.dumps(row))
    assert verdict["score"] == score and verdict["correct"] == (None if score is None else score == 1), verdict
    assert (
        verdict["reason"] and verdict["ms"] >= 0 and set(verdict) == {"score", "correct", "extracted", "reason", "ms"}
    )


@pytest.mark.parametrize(("row", "score"), PROGRAM_CASES)
def test_verdict_on_programs_and_predictions(row, score, sandbox, monkeypatch):
    monkeypatch.setattr(services, "sandbox", lambda: sandbox)
    verdict = grade_line(json.dumps(row))
    assert verdict["score"] == score, verdict


def run(lines: list[bytes], *options: str, code: int = 0) -> list[dict]:
    command = [sys.executable, "-m", "r1kit", "grade", *options]
    done = subprocess.run(command, input=b"\n".join(lines) + b"\n", capture_output=True, timeout=300)
    assert done.returncode == code, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_verdicts_keep_the_order_of_the_lines():
    lines = [
        part for pair in zip([json.dumps(row).encode() for row, _ in CASES], BROKEN * 5, strict=False) for part in pair
    ]
    verdicts = run(lines, "--workers", "2")
    expected = [part for (_, score), _ in zip(CASES, BROKEN * 5, strict=False) for part in (score, None)]
    assert [verdict["score"] for verdict in verdicts] == expected
    assert all(verdict["correct"] is None and verdict["reason"] for verdict in verdicts[1::2])


GOOD, BAD = b'{"kind": "math", "gold": "5", "response": "5"}', b'{"kind": "math"}'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "options", "code"),
    [
        ([GOOD, BAD], [], 0),
        ([GOOD.replace(b': "5"}', b': "6"}')], ["--strict"], 0),
        ([GOOD, BAD], ["--strict"], 1),
        ([BAD, BAD], [], 1),
        ([b""], [], 1),
    ],
)
def test_exit_code_says_whether_lines_were_graded(lines, options, code):
    assert len(run(lines, "--workers", "1", *options, code=code)) == len([line for line in lines if line])


def test_a_blank_line_has_a_verdict_unless_it_is_at_the_end():
    """Verdict N is that of line N. Editors and programs leave blank lines at the end of a file."""
    out = io.BytesIO()
    counts = grade_stream(io.BytesIO(b"\n" + GOOD + b"\n\r\n  \n" + GOOD + b"\n\n\n"), out, 1)
    verdicts = [json.loads(line) for line in out.getvalue().splitlines()]
    assert counts == {"right": 2, "not graded": 3}
    assert [verdict["correct"] for verdict in verdicts] == [None, True, None, None, True]
    assert verdicts[0]["reason"] == "a blank line: must be a JSON object" and verdicts[0]["score"] is None
    assert grade_stream(io.BytesIO(b"\n \n"), out, 1) == {}


def test_overlong_line_does_not_affect_the_next_line():
    good = b'{"kind": "math", "gold": "5", "response": "5"}'
    out = io.BytesIO()
    counts = grade_stream(io.BytesIO(b'{"a": "' + b"x" * (MAX_LINE_BYTES + 9) + b'"}\n' + good), out, 1)
    assert [json.loads(line)["correct"] for line in out.getvalue().splitlines()] == [None, True]
    assert counts == {"not graded": 1, "right": 1}


@pytest.mark.slow
def test_closed_output_pipe_is_not_an_error(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"kind": "math", "gold": "5", "response": "5"}\n' * 3000)
    command = f"{sys.executable} -m r1kit grade {path} --workers 1 | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout)["correct"] and "Traceback" not in done.stderr, done.stderr


@pytest.mark.slow
def test_mutated_answers_neither_crash_nor_take_a_second():
    for line in grade_sweep.mutants(1500, seed=1):
        started = time.process_time()
        verdict = grade_line(line)
        assert time.process_time() - started < 1, line
        assert verdict["score"] is None or 0 <= verdict["score"] <= 1
        assert "failed on problem" not in verdict["reason"], (verdict, line)
        json.dumps(verdict, allow_nan=False)


REPEATED = [
    "0",
    "\n",
    " \n",
    "\n0",
    "0\n",
    "1. ",
    ".",
    ",",
    ":",
    "(A) ",
    "Ann, ",
    "not ",
    ", thus ",
    "answer ",
    "[",
    "1+",
    "<<",
    "x=",
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", REPEATED)
def test_a_repeated_piece_takes_less_than_a_second(piece):
    for row in grade_sweep.SEEDS:
        middle = len(row["response"]) // 2
        for response in (row["response"] + piece * 5_000, row["response"][:middle] + piece * 5_000):
            started = time.process_time()
            grade_line(json.dumps({**row, "response": response}))
            assert time.process_time() - started < 1, row["kind"]


def rows(path):
    every = 1 if path.is_relative_to(FIXTURES) else 25
    return list(map(json.loads, path.open(encoding="utf-8")))[::every]


@fixture_and_shared("rewards", "mmlu_pro/sample.jsonl")
def test_published_choices_are_correct(path):
    for row in rows(path):
        line = {"kind": "choice", "gold": row["answer"], "options": row["options"]}
        assert grade_line(json.dumps({**line, "response": f"The answer is ({row['answer']})."}))["correct"], row


@fixture_and_shared("rewards", "knights_knaves/7ppl_test.jsonl")
def test_published_assignments_are_correct(path):
    for row in rows(path):
        for gold in (row["solution"], row["solution_text"], row["solution_text_format"]):
            line = {"kind": "knights", "problem": row["quiz"], "gold": gold, "response": row["solution_text"]}
            assert grade_line(json.dumps(line))["correct"], row


@fixture_and_shared("rewards", "countdown/verifier_cases.jsonl")
def test_countdown_cases_are_graded_as_stated(path):
    for row in rows(path):
        problem = {key: row[key] for key in ("numbers", "target")}
        line = {"kind": "countdown", "problem": problem, "response": f"<answer>{row['answer']}</answer>"}
        assert grade_line(json.dumps(line))["correct"] == row["valid"], row


def test_every_verifier_is_a_kind():
    assert KINDS.keys() == {*VERIFIERS, "format", "language", "rules_kept", "prose", "on_topic"}
    assert {row["kind"] for row, _ in CASES if isinstance(row.get("kind"), str)} >= KINDS.keys() - SANDBOXED

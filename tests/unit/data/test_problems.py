"""Loading problems from files, worlds and the hub, and drawing them in epochs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from public_data import fixture_and_shared

from r1kit import integers
from r1kit.config import PromptSource
from r1kit.data.problems import PromptStream, load_problems
from r1kit.data.store import DataError, read_rows, write_jsonl
from r1kit.rewards.score import grade
from r1kit.types import Problem


def load(tmp_path: Path, *rows: dict, **options: object) -> list[Problem]:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, rows)
    return load_problems([PromptSource(source=str(path), **options)])


@pytest.mark.parametrize(
    ("row", "question", "answer", "level"),
    [
        ({"question": "Q {x}", "answer": "so 8*9\n#### 72"}, "Q {x}", "72", 0),
        ({"problem": "Q", "solution": r"thus $\boxed{\frac{1}{2}}$.", "level": "Level 3"}, "Q", r"\frac{1}{2}", 3),
        ({"problem": "Q", "solution": r"thus $\boxed{1}$.", "answer": "2", "difficulty": 4.5}, "Q", "2", 4),
        ({"Question": "Q?", "Body": "B.", "Answer": 145.0, "level": "Level ?"}, "B. Q?", "145.0", 0),
        ({"query": "Q", "choices": ["no", "yes"], "answer": 1}, "Q\nA. no\nB. yes", "B", 0),
        ({"prompt": "Q", "ground_truth": 7, "answer": None}, "Q", "7", 0),
    ],
)
def test_common_row_formats(tmp_path: Path, row: dict, question: str, answer: str, level: int) -> None:
    (problem,) = load(tmp_path, row)
    assert (problem.question, problem.answer, problem.level) == (question, answer, level)
    assert problem.verifier == ("choice" if {"options", "choices"} & {key.lower() for key in row} else "math")


COLOURS = ["red", "green", "blue"]
ASKED = "Which colour?\nA. red\nB. green\nC. blue"


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Which colour?", "choices": {"text": COLOURS, "label": ["A", "B", "C"]}, "answerKey": "C"},
        {"question": "Which colour?", "choices": {"text": COLOURS, "label": ["1", "2", "3"]}, "answerKey": "3"},
        {
            "id": "x",
            "question": {
                "stem": "Which colour?",
                "choices": [{"text": text, "label": label} for text, label in zip(COLOURS, "ABC", strict=True)],
            },
            "answerKey": "C",
        },
        {"question_stem": "Which colour?", "choices": {"text": COLOURS, "label": list("ABC")}, "answerKey": "C"},
        {"query": "Which colour?", "choices": COLOURS, "gold": 2},
        {"question": "Which colour?", "options": dict(zip("ABC", COLOURS, strict=True)), "answer": "C"},
    ],
    ids=["hub", "hub with numbers", "ARC's files", "OpenBookQA", "harness", "letters"],
)
def test_published_forms_of_multiple_choice(tmp_path: Path, row: dict) -> None:
    """ARC as on the hub, as in its own files and as in evaluation harnesses, and sets in the same forms."""
    (problem,) = load(tmp_path, row)
    assert (problem.question, problem.answer, problem.verifier) == (ASKED, "C", "choice")
    assert list(problem.extra["options"]) == COLOURS
    for answer, status in [("C", "right"), ("blue", "right"), ("A", "wrong")]:
        assert grade(problem, f"<answer>{answer}</answer>").status == status


def test_choice_without_a_known_answer_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = {"question": "Which?", "choices": {"text": COLOURS, "label": ["A", "B", "C"]}, "answerKey": ""}
    beyond = {"question": "Which?", "choices": COLOURS, "gold": 3}
    shown = {"question": "Which?", "choices": COLOURS, "gold": 0}
    assert [problem.answer for problem in load(tmp_path, hidden, beyond, shown)] == ["A"]
    assert "2 rows without final answer" in capsys.readouterr().err


def test_ifeval_rows(tmp_path: Path) -> None:
    """As on the hub, where every row has every argument, mostly null; in the original the others are absent."""
    ids = ["punctuation:no_comma", "length_constraints:number_words"]
    for kwargs in (
        [{"num_words": None, "relation": None}, {"num_words": 3, "relation": "at least"}],
        [{}, {"num_words": 3, "relation": "at least"}],
    ):
        (problem,) = load(tmp_path, {"key": 1, "prompt": "Say it.", "instruction_id_list": ids, "kwargs": kwargs})
        assert (problem.question, problem.verifier) == ("Say it.", "ifeval")
        for text, value in [("one two three", 1), ("one, two, three", 0.5), ("one, two", 0)]:
            assert grade(problem, f"<think>hm</think>{text}").value == value


@pytest.mark.parametrize(
    ("row", "question"),
    [
        (
            {"ID": "chal-1", "Body": "A has 3.", "Question": "How many?", "Equation": "3", "Answer": 3.0},
            "A has 3. How many?",
        ),
        ({"Body": "A has 3.", "Question": "How many?", "Answer": "3.0", "question_concat": "x"}, "A has 3. How many?"),
        ({"question_concat": "A has 3. How many?", "Answer": "3.0"}, "A has 3. How many?"),
        (
            {"id": "1", "question": "A has 3. How many?", "chain": "<output>3</output>", "result": "3"},
            "A has 3. How many?",
        ),
    ],
    ids=["original", "hub", "joined", "calc"],
)
def test_svamp_rows(tmp_path: Path, row: dict, question: str) -> None:
    (problem,) = load(tmp_path, row)
    assert (problem.question, problem.verifier) == (question, "math")
    assert grade(problem, "<answer>3</answer>").status == "right"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "verifier"), [("arc/challenge", "choice"), ("ifeval/prompts", "ifeval"), ("svamp/test", "math")]
)
def test_published_sets_are_read_completely(shared_data: Path, name: str, verifier: str) -> None:
    path = shared_data / f"{name}.jsonl"
    problems = load_problems([PromptSource(source=str(path))])
    assert len(problems) == len(list(read_rows(path))) and {problem.verifier for problem in problems} == {verifier}
    if verifier == "ifeval":
        statuses = {grade(problem, "<think>a</think>b").status for problem in problems}
    else:
        statuses = {grade(problem, f"<answer>{problem.answer}</answer>").status for problem in problems}
    assert statuses <= {"right", "wrong"} and ("wrong" in statuses) == (verifier == "ifeval")


def test_countdown_rows(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, {"nums": [3, 4], "target": 12})
    assert problem.verifier == "countdown" and problem.extra == {"numbers": [3, 4], "target": 12}
    assert "3, 4" in problem.question and "12" in problem.question


def test_id_language_and_duplicates(tmp_path: Path) -> None:
    english, chinese = load(
        tmp_path,
        {"question": "a", "answer": "1"},
        {"question": "a", "answer": "1"},
        {"question": "几个？", "answer": "1"},
    )
    same = load(tmp_path, {"problem": "a", "target": "1", "other": 0})[0]
    assert (english.id, english.language, chinese.language) == (same.id, "en", "zh") and english.id != chinese.id
    assert english.id == "05a9c569a185ac60"  # ids are stored in runs, so they must not change


def test_integers_of_thousands_of_digits_are_read(tmp_path: Path) -> None:
    """Python's own limit is 4,300 digits; a factorial may be an argument of a test, and one row stops no file."""
    digits, row = "7" * 5000, '"question": "What is it?", "answer"'
    path = tmp_path / "long.jsonl"
    path.write_text(f'{{{row}: {digits}}}\n{{{row}: 7, "arguments": {digits}}}\n')
    read = list(read_rows(path))
    assert integers.write(read[0]["answer"]) == integers.write(read[1]["arguments"]) == digits
    (problem,) = load_problems([PromptSource(source=str(path))])
    assert problem.answer == "7", "an answer of 5,000 characters is none"
    (tmp_path / "long.json").write_text(f"[{{{row}: -{digits}}}]")
    (tmp_path / "long.csv").write_text(f'question,options\nWhat?,"[-{digits}, 2]"\n')
    assert {integers.write(row["answer"]) for row in read_rows(tmp_path / "long.json")} == {f"-{digits}"}
    assert {integers.write(row["options"][0]) for row in read_rows(tmp_path / "long.csv")} == {f"-{digits}"}
    path.write_text(f"{{{row}: {digits * 11}}}\n")
    with pytest.raises(DataError, match="line 1: an integer of 55000 digits: at most 50000 are read"):
        load_problems([PromptSource(source=str(path))])


def test_level_range_and_limit(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": "1", "level": i % 5} for i in range(20)]
    problems = load(tmp_path, *rows, min_level=2, max_level=3, limit=3)
    assert [problem.question for problem in problems] == ["q2", "q3", "q7"]
    with pytest.raises(DataError, match="no problem of level 7 to 9"):
        load(tmp_path, *rows, min_level=7, max_level=9)


def test_rows_without_final_answer_are_left_out_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"question": "q", "answer": None},
        {"question": "q", "answer": "a long proof " * 50},
        {"question": "q", "answer": "1"},
    ]
    assert len(load(tmp_path, *rows)) == 1
    assert "2 rows without final answer left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "q", "answer": "1"}, r"row 1: the fields are text, answer: must be .*question, problem"),
        ({"question": "q"}, "row 1: the fields are question"),
        ({"question": [{"role": "user"}], "answer": "1"}, "row 1: .* a question as text"),
    ],
)
def test_rows_without_the_needed_fields_are_refused(tmp_path: Path, row: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, row)


def test_question_of_ten_megabytes_is_refused_with_its_row(tmp_path: Path) -> None:
    rows = [{"question": "1 + 1", "answer": "2"}, {"question": "x" * 10_000_000, "answer": "2"}]
    write_jsonl(path := tmp_path / "long.jsonl", rows)
    with pytest.raises(DataError, match=r"row 2: the question has 10,000,000 characters: must be at most 500,000"):
        load_problems([PromptSource(source=str(path))])


def test_lone_surrogates_are_refused_with_their_row(tmp_path: Path) -> None:
    (path := tmp_path / "odd.jsonl").write_text('{"question": "1 + 1 \\ud800", "answer": "2"}\n')
    with pytest.raises(DataError, match="row 1: the text has half of a surrogate pair"):
        load_problems([PromptSource(source=str(path))])


@pytest.mark.slow
def test_worlds_and_unknown_sources() -> None:
    problems = load_problems([PromptSource(source="world:arithmetic", limit=4)])
    assert {problem.family for problem in problems} == {"arithmetic"}
    with pytest.raises(ValueError, match="arithmetic"):
        load_problems([PromptSource(source="world:arithmetics")])
    with pytest.raises(DataError, match=r"neither a local file nor a dataset .* works offline"):
        load_problems([PromptSource(source="no such/set at all/anywhere")])


def test_file_formats_round_trip(tmp_path: Path) -> None:
    rows = [{"question": "几 {x}\u2028", "answer": "1"}, {"question": "b", "answer": "2"}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert all(list(read_rows(tmp_path / f"a{suffix}")) == rows for suffix in (".jsonl", ".json", ".parquet"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [], "no temporary files are left"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "bad.jsonl",
            b'{"question": "a"}\n\n{"question": "b", "answer: 1}\n',
            r"(?s)bad.jsonl, line 3: .*near: .*answer: 1.*repair or delete",
        ),
        ("bad.jsonl", b'{"question": "\xff"}\n', "line 1"),
        ("bad.parquet", b"PAR1 no", "not a readable Parquet"),
        ("a.jsnl", None, r"did you mean .*a.json"),
        ("a.txt", None, "no such file"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    (tmp_path / "a.json").write_text("[]")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / name))


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(TypeError):
        write_jsonl(path, [{"a": 2}, {"a": object()}])
    assert list(read_rows(path)) == [{"a": 1}]


def test_prompt_stream_is_a_pure_function_of_seed_and_cursor() -> None:
    problems = [Problem(id=f"p{i}", question="", answer="") for i in range(7)]
    expected = PromptStream(problems, seed=1).take(0, 35)
    stream = PromptStream(problems, seed=1)
    for cursor in (29, 3, 12, 0):  # in any order, across epochs
        assert stream.take(cursor, 6) == expected[cursor : cursor + 6]
    assert expected != PromptStream(problems, seed=2).take(0, 35)


def test_prompt_stream_shuffles_every_epoch() -> None:
    problems = [Problem(id=f"p{i}", question="", answer="") for i in range(7)]
    ids = [problem.id for problem in PromptStream(problems, seed=1).take(0, 35)]
    epochs = [tuple(ids[i : i + 7]) for i in range(0, 35, 7)]
    assert all(Counter(epoch) == Counter(problem.id for problem in problems) for epoch in epochs)
    assert len(set(epochs)) > 3


def test_prompt_stream_needs_problems() -> None:
    with pytest.raises(ValueError, match="no problems"):
        PromptStream([], 0)


PUBLIC = {  # file -> (problems in the public set, in the fixture)
    "gsm8k/train.jsonl": (7473, 3),
    "math/math500.jsonl": (500, 3),
    "math/train.jsonl": (7470, 2),
    "aime/2024.jsonl": (30, 2),
    "cmath/test.jsonl": (600, 2),
}


@pytest.mark.slow
@fixture_and_shared("problems", *PUBLIC)
def test_public_data_sets_load_unchanged(path: Path) -> None:
    problems = load_problems([PromptSource(source=str(path))])
    sizes = PUBLIC[f"{path.parent.name}/{path.name}"]
    assert len(problems) == sizes["fixtures" in path.parts] and len({problem.id for problem in problems}) == len(
        problems
    )
    assert all(problem.answer and "\n" not in problem.answer for problem in problems)

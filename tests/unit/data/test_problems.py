import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import SHARED

from r1kit.config import PromptSource
from r1kit.data.problems import PromptStream, load_problems
from r1kit.data.store import DataError, read_rows, write_jsonl
from r1kit.types import Problem


def load(tmp_path, *rows, **options):
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
def test_rows_of_common_shapes_are_problems_as_they_are(tmp_path, row, question, answer, level):
    (problem,) = load(tmp_path, row)
    assert (problem.question, problem.answer, problem.level) == (question, answer, level)
    assert problem.verifier == ("choice" if {"options", "choices"} & {key.lower() for key in row} else "math")


def test_countdown_rows(tmp_path):
    (problem,) = load(tmp_path, {"nums": [3, 4], "target": 12})
    assert problem.verifier == "countdown" and problem.extra == {"numbers": [3, 4], "target": 12}
    assert "3, 4" in problem.question and "12" in problem.question


def test_identity_language_and_duplicates(tmp_path):
    one, zh = load(
        tmp_path,
        {"question": "a", "answer": "1"},
        {"question": "a", "answer": "1"},
        {"question": "几个？", "answer": "1"},
    )
    again = load(tmp_path, {"problem": "a", "target": "1", "other": 0})[0]
    assert (one.id, one.language, zh.language) == (again.id, "en", "zh") and one.id != zh.id
    assert one.id == "05a9c569a185ac60"  # identities are stored in runs: they must not change


def test_levels_and_limit(tmp_path):
    rows = [{"question": f"q{i}", "answer": "1", "level": i % 5} for i in range(20)]
    found = load(tmp_path, *rows, min_level=2, max_level=3, limit=3)
    assert [p.question for p in found] == ["q2", "q3", "q7"]
    with pytest.raises(DataError, match="no problem of level 7 to 9"):
        load(tmp_path, *rows, min_level=7, max_level=9)


def test_rows_without_an_answer_are_left_out_aloud_and_rows_without_the_field_are_errors(tmp_path, capsys):
    rows = [
        {"question": "q", "answer": None},
        {"question": "q", "answer": "a long proof " * 50},
        {"question": "q", "answer": "1"},
    ]
    assert len(load(tmp_path, *rows)) == 1
    assert "2 rows without final answer left out" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"row 2: found the fields text, answer; wanted .*question, problem"):
        load(tmp_path, rows[2], {"text": "q", "answer": "1"})
    with pytest.raises(DataError, match="row 1"):
        load(tmp_path, {"question": [{"role": "user"}], "answer": "1"})


def test_worlds_and_unknown_sources():
    assert {p.family for p in load_problems([PromptSource(source="world:arithmetic", limit=4)])} == {"arithmetic"}
    with pytest.raises(ValueError, match="arithmetic"):
        load_problems([PromptSource(source="world:arithmetics")])
    with pytest.raises(DataError, match="neither a local file nor a dataset .* works offline"):
        load_problems([PromptSource(source="no such/set at all/anywhere")])


def test_files_round_trip_and_name_their_faults(tmp_path):
    rows = [{"question": "几 {x}\u2028", "answer": "1"}, {"question": "b", "answer": "2"}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert all(list(read_rows(tmp_path / f"a{suffix}")) == rows for suffix in (".jsonl", ".json", ".parquet"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    (tmp_path / "bad.jsonl").write_text('{"question": "a"}\n\n{"question": "b", "answer: 1}\n')
    with pytest.raises(DataError, match=r"(?s)bad.jsonl, line 3: .*near: .*answer: 1.*repair or delete"):
        list(read_rows(tmp_path / "bad.jsonl"))
    (tmp_path / "bad.jsonl").write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(DataError, match="line 1"):
        list(read_rows(tmp_path / "bad.jsonl"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    for name, message in [
        ("bad.parquet", "not a Parquet"),
        ("a.jsnl", "did you mean .*a.json"),
        ("a.txt", "no such file"),
    ]:
        with pytest.raises(DataError, match=message):
            list(read_rows(tmp_path / name))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(TypeError):
        write_jsonl(path, [{"a": 2}, {"a": object()}])
    assert list(read_rows(path)) == [{"a": 1}]


def test_the_prompt_stream_is_a_pure_function_of_seed_and_cursor():
    problems = [Problem(id=f"p{i}", question="", answer="") for i in range(7)]
    whole = PromptStream(problems, seed=1).take(0, 35)
    stream = PromptStream(problems, seed=1)
    for cursor in (29, 3, 12, 0):  # in any order, across epochs
        assert stream.take(cursor, 6) == whole[cursor : cursor + 6]
    epochs = [tuple(p.id for p in whole[i : i + 7]) for i in range(0, 35, 7)]
    assert all(Counter(epoch) == Counter(p.id for p in problems) for epoch in epochs)
    assert len(set(epochs)) > 3 and whole != PromptStream(problems, seed=2).take(0, 35)
    with pytest.raises(ValueError, match="no problems"):
        PromptStream([], 0)


@pytest.mark.skipif(not SHARED.exists(), reason="needs shared data")
@pytest.mark.parametrize(
    ("name", "count"),
    [("gsm8k/train", 7473), ("math/math500", 500), ("math/train", 7470), ("aime/2024", 30), ("cmath/test", 600)],
)
def test_public_sets_load_as_they_are(name, count):
    problems = load_problems([PromptSource(source=str(SHARED / f"{name}.jsonl"))])
    assert len(problems) == count and len({p.id for p in problems}) == count

"""Data files: CSV and TSV tables, gzip, and what is said about files that cannot be used."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from r1kit.config import PromptSource
from r1kit.data.examples import read_sources
from r1kit.data.problems import load_problems
from r1kit.data.store import STREAM_READERS, DataError, read_rows

ROWS = [{"question": 'What is 1, "2" and\n3?', "answer": "[0, 1]"}, {"question": "几个？", "answer": "2"}]
TEXTS = {
    ".jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    ".json": json.dumps(ROWS),
    ".csv": 'question,answer\n"What is 1, ""2"" and\n3?","[0, 1]"\n几个？,2\n',
    ".tsv": 'question\tanswer\n"What is 1, ""2"" and\n3?"\t[0, 1]\n\n几个？\t2\n',
}


@pytest.mark.parametrize("suffix", STREAM_READERS)
def test_every_text_format_may_be_compressed(tmp_path: Path, suffix: str) -> None:
    plain, packed = tmp_path / f"p{suffix}", tmp_path / f"p{suffix}.gz"
    plain.write_text(TEXTS[suffix], encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_rows(plain)) == list(read_rows(packed)) == ROWS
    problems = load_problems([PromptSource(source=str(packed))])
    assert [(p.question, p.answer, p.family) for p in problems] == [(r["question"], r["answer"], "p") for r in ROWS]


def test_records_are_read_from_compressed_tables(tmp_path: Path) -> None:
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(b"prompt,response\na,b\n"))
    ((_, row),) = read_sources([tmp_path / "r.csv.gz"])
    assert row == {"prompt": "a", "response": "b"}


def test_tables_of_spreadsheets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("\ufeffquestion;answer;level\r\n1, or 2?;3;\r\n".encode())
    assert list(read_rows(tmp_path / "a.csv")) == [{"question": "1, or 2?", "answer": "3", "level": None}]


def test_long_cells_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,response\na," + "b" * 300_000 + "\n")
    assert len(next(read_rows(tmp_path / "a.csv"))["response"]) == 300_000


def test_lists_in_tables_are_json(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('nums,target\n"[3, 4]",12\n')
    (tmp_path / "b.csv").write_text('question,answer,choices\nWhich?,B,"[""x"", ""y""]"\n')
    (problem,) = load_problems([PromptSource(source=str(tmp_path / "a.csv"))])
    assert problem.extra == {"numbers": [3, 4], "target": 12}
    (problem,) = load_problems([PromptSource(source=str(tmp_path / "b.csv"))])
    assert (problem.verifier, problem.extra["options"]) == ("choice", ["x", "y"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n1,2\n3\n", "line 3: 1 cells below a header of 2"),
        ("a.csv", b"a,a\n1,2\n", "line 1: must name every column once"),
        ("a.csv", b"a\n\xff\n", "not a valid table in UTF-8"),
        ("a.csv", b'a\n"b\n', "not a valid table"),
        ("a.csv", b"nums,target\n3 4,12\n", r"line 2: nums, target must be JSON, such as \[3, 5, 7\]"),
        ("a.csv", b"question,answer\n", "the file has no rows"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b"\n\n", "the file has no rows"),
        ("a.json", b"[]", "the file has no rows"),
        ("a.jsonl.gz", b"no gzip", "not a complete gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "not a complete gzip file"),
        ("a.xml.gz", b"", "suffix '.xml.gz': must be .jsonl, "),
        ("a.txt", b"a", "suffix '.txt': must be .jsonl, .json, .csv or .tsv"),
    ],
)
def test_message_says_what_is_wrong_with_a_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(read_rows(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))


def test_directory_is_refused_with_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"a directory, not a file: name a file in it, such as .*a\.csv"):
        load_problems([PromptSource(source=str(tmp_path))])


def test_block_without_rows_may_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    assert list(read_rows(tmp_path / "a.jsonl", may_be_empty=True)) == []


def test_duplicates_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("question,answer\nx,1\nx,1\ny,2\n")
    problems = load_problems([PromptSource(source=str(tmp_path / name)) for name in ("a.csv", "b.csv")])
    printed = capsys.readouterr().err
    assert len(problems) == 2 and "a.csv: 1 duplicates left out" in printed
    assert "b.csv: 2 problems left out that an earlier source has too" in printed


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": ["a"], "answer": "1"}, "row 1: question is of type list; the fields are question, answer"),
        ({"question": "a", "answer": {"x": 1}}, "row 1: answer is of type dict; the fields are question, answer"),
    ],
)
def test_field_of_a_wrong_type_is_named(tmp_path: Path, row: dict[str, object], message: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=message):
        load_problems([PromptSource(source=str(tmp_path / "a.jsonl"))])

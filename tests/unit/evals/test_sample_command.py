"""`r1kit sample`: numbered answers, files of questions, JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit.errors import UserError
from r1kit.evals.measure import collect, read_questions, transcript
from r1kit.rollout.sample import Piece

PIECES = [Piece(0, 0, "4"), Piece(0, 0, "2"), Piece(0, 1, "7"), Piece(1, 0, ""), Piece(1, 1, "9")]


def test_transcript_numbers_questions_and_answers_where_there_are_several() -> None:
    assert "".join(transcript(PIECES[:2], ["6*7?"], 1)) == "42", "a single answer stands alone"
    assert "".join(transcript(PIECES[:3], ["6*7?"], 2)) == "Answer 1 of 2:\n42\n\nAnswer 2 of 2:\n7"
    assert "".join(transcript(PIECES, ["6*7?", "9?"], 2)) == (
        "Question 1 of 2: 6*7?\nAnswer 1 of 2:\n42\n\nAnswer 2 of 2:\n7\n\n"
        "Question 2 of 2: 9?\nAnswer 1 of 2:\n\n\nAnswer 2 of 2:\n9"
    )


def test_json_has_every_answer_of_every_question() -> None:
    assert collect(PIECES, "m", ["6*7?", "9?"]) == {
        "model": "m",
        "questions": [{"question": "6*7?", "answers": ["42", "7"]}, {"question": "9?", "answers": ["", "9"]}],
    }


def test_questions_are_read_from_text_and_from_data_files(tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("\ufeff1+1?\n\n  2+2?  \n", encoding="utf-8")
    (tmp_path / "q.jsonl").write_text('{"question": "3+3?", "answer": "6"}\n{"question": "4+4?"}\n')
    assert read_questions(tmp_path / "q.txt") == ["1+1?", "2+2?"]
    assert read_questions(tmp_path / "q.jsonl") == ["3+3?", "4+4?"]
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"\xff?")
    for name, message in [("empty.txt", "no question"), ("latin.txt", "not a text in UTF-8")]:
        with pytest.raises(UserError, match=message):
            read_questions(tmp_path / name)

"""The completions of a step, filtered and searched, and one problem over the steps."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_factory import make_run

from r1kit.data.store import write_jsonl
from r1kit.watch import rollouts as module
from r1kit.watch.rollouts import Rollouts, Step


def completion(problem: str, sample: int, text: str = "an answer", **values: Any) -> dict[str, Any]:
    row = {"step": 1, "prompt_id": problem, "sample": sample, "question": f"Question {problem}?", "answer": "1"}
    row |= {"completion": text, "extracted": "1", "reward": 1.0, "parts": {"accuracy": 1.0}, "advantage": 0.0}
    return row | {"tokens": 10, "finish_reason": "stop", "language": "en", "level": 1, "family": "sums"} | values


ROWS = [
    completion("a", 0),
    completion("a", 1, parts={"accuracy": 0.0}, reward=0.0),
    completion("b", 0, text="Ünfinished", finish_reason="length", parts={"accuracy": 0.0}, extracted=None),
    completion("c", 0, text="this answer is 这是用中文写的答案"),
    completion("c", 1, text="only English", parts={"accuracy": 1.0, "language": 0.5}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "rollouts"


def write(folder: Path, step: int, rows: list[dict[str, Any]]) -> None:
    write_jsonl(folder / f"step_{step:06d}.jsonl", rows)


def found(step: Step, answer: str = "", search: str = "") -> list[str]:
    return [group["prompt_id"] for group in step.groups(answer, search)[0]]


def test_steps_are_listed_as_they_are_written(folder: Path) -> None:
    rollouts = Rollouts(folder)
    rollouts.refresh()
    assert rollouts.steps == [] and rollouts.nearest(None) is None
    for step in (1, 20, 10):
        write(folder, step, ROWS)
        rollouts.refresh()
    (folder / ".step_000030.jsonl.1.tmp").write_text("")
    (folder / "step_x.jsonl").write_text("")
    rollouts.refresh()
    assert rollouts.steps == [1, 10, 20]
    assert [rollouts.nearest(step) for step in (None, 20, 19, 10, 0)] == [20, 20, 10, 10, 1]
    shutil.rmtree(folder)
    rollouts.refresh()
    assert rollouts.steps == []


def test_folder_is_not_listed_again_while_nothing_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, 1, ROWS)
    os.utime(folder, ns=(10**18, 10**18))
    rollouts = Rollouts(folder)
    rollouts.refresh()
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("listed again"))
    rollouts.refresh()
    assert rollouts.steps == [1]


def test_filters_and_their_counts(folder: Path) -> None:
    write(folder, 1, ROWS)
    step = Rollouts(folder).open(1)
    assert step.counts() == {"": 5, "right": 3, "wrong": 2, "cut": 1, "mixed": 2, "unparsed": 1}
    assert found(step) == ["a", "b", "c"] and found(step, "right") == ["a", "c"] and found(step, "wrong") == ["a", "b"]
    assert found(step, "cut") == ["b"] and found(step, "mixed") == ["c"] and found(step, "unparsed") == ["b"]
    (group,), left_out = step.groups("wrong", "question A")
    assert [row["correct"] for row in group["completions"]] == [True, False] and left_out == 0
    assert group["of"] == 2 and "completion" not in group["completions"][0], "texts are sent with one group only"


def test_search_ignores_case_and_reads_questions_and_texts(folder: Path) -> None:
    write(folder, 1, ROWS)
    step = Rollouts(folder).open(1)
    assert found(step, search="ünfin") == ["b"] and found(step, search="QUESTION C") == ["c"]
    assert found(step, search="中文") == ["c"] and found(step, search="nowhere") == []
    assert found(step, "right", "中文") == ["c"] and found(step, "cut", "中文") == []


def test_group_has_the_texts(folder: Path) -> None:
    write(folder, 1, ROWS)
    step = Rollouts(folder).open(1)
    group = step.group("c")
    assert group is not None and group["question"] == "Question c?"
    assert [row["completion"] for row in group["completions"]] == [ROWS[3]["completion"], "only English"]
    assert step.group("z") is None


def test_long_lists_are_cut_off_and_say_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_GROUPS", 2)
    write(folder, 1, ROWS)
    groups, left_out = Rollouts(folder).open(1).groups("", "")
    assert [group["prompt_id"] for group in groups] == ["a", "b"] and left_out == 1


def test_step_that_is_written_again_is_read_again(folder: Path) -> None:
    write(folder, 1, ROWS)
    rollouts = Rollouts(folder)
    assert found(rollouts.open(1)) == ["a", "b", "c"]
    write(folder, 1, ROWS[:1])
    assert found(rollouts.open(1)) == ["a"]
    (folder / "step_000001.jsonl").unlink()
    with pytest.raises(FileNotFoundError):
        rollouts.open(1)


def test_half_written_and_damaged_lines_are_left_out(folder: Path) -> None:
    folder.mkdir()
    lines = [json.dumps(ROWS[0]), "[1]", "\xff", json.dumps(ROWS[3]), '{"prompt_id": "d", "comple']
    (folder / "step_000001.jsonl").write_bytes("\n".join(lines).encode("latin-1", "replace"))
    assert found(Rollouts(folder).open(1)) == ["a", "c"]


def test_problem_is_followed_from_the_newest_step(folder: Path) -> None:
    for step in (1, 5, 9):
        write(folder, step, ROWS if step != 5 else ROWS[2:])
    rollouts = Rollouts(folder)
    rollouts.refresh()
    groups, before = rollouts.follow("a", None)
    assert before is None and [group["step"] for group in groups] == [9, 1]
    assert groups[0] | {"step": 0} == {
        "step": 0, "completions": 2, "right": 1, "reward": 0.5, "tokens": 10, "cut": 0, "mixed": 0
    }  # fmt: skip
    assert rollouts.follow("z", None) == ([], None)


def test_search_for_a_problem_pauses_and_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCH_SECONDS", -1.0)
    for step in (1, 2, 3):
        write(folder, step, ROWS)
    rollouts = Rollouts(folder)
    rollouts.refresh()
    steps, before, requests = [], None, 0
    while requests == 0 or before is not None:
        groups, before = rollouts.follow("b", before)
        steps += [group["step"] for group in groups]
        requests += 1
    assert steps == [3, 2, 1] and requests == 3


def test_agrees_with_the_rows_of_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=20)
    rollouts = Rollouts(run / "stages/zero/rollouts")
    rollouts.refresh()
    rows = [json.loads(line) for line in (rollouts.path(20)).open()]
    step = rollouts.open(20)
    assert step.counts()["right"] == sum(row["parts"]["accuracy"] == 1 for row in rows)
    assert step.counts()[""] == len(rows) == 64
    assert found(step, "right") == list(dict.fromkeys(r["prompt_id"] for r in rows if r["parts"]["accuracy"] == 1))

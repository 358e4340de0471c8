"""Answers for the programs of benchmarks' authors, and the results that these programs write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from r1kit.data.store import DataError, read_rows, write_jsonl
from r1kit.errors import UserError
from r1kit.evals.named.harness import read_results, refuse_agents, write_answers
from r1kit.evals.task import find_task

PATCH = "--- a/t.py\n+++ b/t.py\n@@ -1 +1 @@\n-return 0\n+return a + b\n"


def written(name: str, row: dict[str, Any], completion: str, folder: Path, **graded: Any) -> dict[str, str]:
    task = find_task(name)
    problem = task.problem(row)
    assert problem is not None
    sample = {"prompt_id": problem.id, "completion": completion, "think_open": True, "correct": None, "tokens": 9}
    return write_answers(task, [problem], [sample | graded], "org/model", folder)


def test_alpaca_eval_gets_outputs_without_thinking(tmp_path: Path) -> None:
    row = {"instruction": "Name a salt.", "output": "NaCl", "dataset": "own"}
    file = written("alpaca_eval", row, "hm</think>\n\nNaBr", tmp_path)
    assert json.loads(Path(file["file"]).read_text()) == [
        {"dataset": "own", "instruction": "Name a salt.", "output": "NaBr", "generator": "org-model"}
    ]
    assert f"--model_outputs {file['file']}" in file["command"]
    empty = written("alpaca_eval", row, "never done thinking", tmp_path)
    assert json.loads(Path(empty["file"]).read_text())[0]["output"] == ""


def test_arena_hard_gets_answers_with_the_counts_of_markdown(tmp_path: Path) -> None:
    row = {"question_id": "q1", "turns": [{"content": "Why?"}], "cluster": "own"}
    text = "</think># Title\n\n1. **one**\n- two\n\n```\n# no title\n```"
    [answer] = read_rows(Path(written("arena_hard", row, text, tmp_path)["file"]))
    assert (answer["uid"], answer["model"]) == ("q1", "org-model")
    assert answer["messages"][-1]["content"]["answer"].startswith("# Title")
    counts = answer["metadata"]
    assert (counts["header_count"]["h1"], counts["bold_count"]["**"]) == (1, 1)
    assert counts["list_count"] == {"ordered": 1, "unordered": 1}


def test_swe_bench_gets_the_last_patch(tmp_path: Path) -> None:
    row = {"instance_id": "own__toy-1", "repo": "own/toy", "problem_statement": "add() is wrong"}
    text = f"x</think>First `t.py`:\n```python\nprint(1)\n```\n```diff\n{PATCH}```\nDone."
    [prediction] = read_rows(Path(written("swe_bench", row, text, tmp_path)["file"]))
    assert prediction == {"instance_id": "own__toy-1", "model_name_or_path": "org-model", "model_patch": PATCH}
    [none] = read_rows(Path(written("swe_bench", row, "x</think>I do not know.", tmp_path)["file"]))
    assert none["model_patch"] == ""


def test_codeforces_gets_the_verdicts_of_each_problem(tmp_path: Path) -> None:
    row = json.loads((Path(__file__).parents[3] / "fixtures/evals/tasks/codeforces.jsonl").read_text().splitlines()[0])
    file = written("codeforces", row, "```python\nprint()\n```", tmp_path, correct=True)["file"]
    assert json.loads(Path(file).read_text()) == {"model": "org-model", "verdicts": {"9A": ["AC"]}}


def test_results_of_swe_bench_are_shares_of_all_instances(tmp_path: Path) -> None:
    report = {"total_instances": 500, "submitted_instances": 20, "resolved_instances": 12, "empty_patch_instances": 5}
    (tmp_path / "report.json").write_text(json.dumps(report))
    found = read_results("swe_bench", tmp_path / "report.json")
    assert found == {"resolved": pytest.approx(2.4), "empty_patch": pytest.approx(1.0), "errors": 0.0}
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(DataError, match="has no resolved_instances"):
        read_results("swe_bench", tmp_path / "report.json")


def test_results_of_aider_need_all_exercises(tmp_path: Path) -> None:
    for number in range(225):
        outcomes = [True] if number < 60 else [False, number < 128]
        (tmp_path / str(number)).mkdir()
        result = {"testcase": str(number), "tests_outcomes": outcomes, "num_malformed_responses": int(number < 7)}
        (tmp_path / str(number) / ".aider.results.json").write_text(json.dumps(result))
    found = read_results("aider", tmp_path)
    assert found is not None and [round(found[key], 1) for key in sorted(found)] == [26.7, 56.9, 96.9]
    (tmp_path / "0" / ".aider.results.json").unlink()
    with pytest.raises(DataError, match="224 completed exercises: must be 225"):
        read_results("aider", tmp_path)


def test_results_of_alpaca_eval_and_arena_hard(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.csv").write_text(",win_rate,length_controlled_winrate\nours,41.5,39.25\n")
    assert read_results("alpaca_eval", tmp_path / "leaderboard.csv") == {"win_rate": 41.5, "lc_win_rate": 39.25}
    games = [{"games": [{"score": "B>>A"}, {"score": "A=B"}]}, {"games": [{"score": "A>B"}, {"score": None}]}]
    write_jsonl(tmp_path / "judgments.jsonl", games)
    assert read_results("arena_hard", tmp_path / "judgments.jsonl") == {"score": pytest.approx(100 * 3.5 / 4)}
    write_jsonl(tmp_path / "other.jsonl", [{"model": "m"}])
    assert read_results("arena_hard", tmp_path / "other.jsonl") is None
    assert read_results("mmlu_pro", tmp_path / "other.jsonl") is None


def test_benchmarks_that_ask_an_endpoint_are_refused_with_their_command() -> None:
    with pytest.raises(UserError, match=r"aider: its own program .*benchmark\.py .*r1kit score aider FOLDER"):
        refuse_agents({"aider": find_task("aider"), "aime24": find_task("aime24"), "mine": None})

"""Every benchmark on rows of ours in its public format: reading, prompt, and the grades of right and wrong answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1kit.config import PromptSource
from r1kit.data.store import DataError
from r1kit.errors import UserError
from r1kit.evals.graders import HARNESS, RULES, graded_here_or_by, grader_named
from r1kit.evals.named.sources import load_task, problems_of
from r1kit.evals.task import find_task, task_names
from r1kit.rewards.checks.base import ScoreRequest
from r1kit.rewards.workers.pool import score_here
from r1kit.types import Problem, Score

FIXTURES = Path(__file__).parents[3] / "fixtures" / "evals" / "tasks"
ANSWERS = json.loads((FIXTURES / "answers.json").read_text(encoding="utf-8"))
JUDGED = {"simpleqa", "c_simpleqa", "frames", "arena_hard", "alpaca_eval"}
READ = [name for name in task_names() if find_task(name).load is None and name != "aider"]  # Aider's program reads it
PROBLEMS = {"livecodebench": 2, "codeforces": 1, "olympiadbench": 1, "mmlu_redux": 2}  # the other rows are left out


def fixture(name: str) -> Path:
    base = name.partition(":")[0]
    return next(path for path in (FIXTURES / f"{base}{end}" for end in (".jsonl", ".csv", "")) if path.exists())


def problems(name: str, **keys: object) -> list[Problem]:
    return problems_of([PromptSource(source=f"bench:{name}={fixture(name)}", **keys)])


def scored(problem: Problem, text: str, truncated: bool = False) -> Score:
    request = ScoreRequest(problem, text, {"accuracy": 1.0}, truncated=truncated)
    return graded_here_or_by(score_here)([request])[0]


@pytest.mark.parametrize("name", READ)
def test_rows_of_the_public_format_become_problems_with_prompts(name: str) -> None:
    found = problems(name)
    rows = sum(map(len, map(_lines, fixture(name).rglob("*.csv") if fixture(name).is_dir() else [fixture(name)])))
    assert len(found) == PROBLEMS.get(name, rows)
    assert all(problem.verifier == find_task(name).verifier and problem.prompt for problem in found)
    assert all(problem.question.split("\n")[-1] in problem.prompt for problem in found)


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[1:] if path.suffix == ".csv" else lines


def in_turn(names: set[str]) -> list[object]:
    """The names as parameters; those of programs open a sandbox, which takes long."""
    return [
        pytest.param(name, marks=pytest.mark.slow if find_task(name).verifier == "code" else ())
        for name in sorted(names)
    ]


@pytest.mark.parametrize("name", in_turn(set(ANSWERS)))
@pytest.mark.parametrize("thinking", ["", "<think>Perhaps another answer: \\boxed{1}. Answer: A</think>\n"])
def test_right_and_wrong_answers_are_told_apart(name: str, thinking: str) -> None:
    right, wrong = ANSWERS[name]
    problem = problems(name)[0]
    if right.startswith("<think>") and thinking:
        pytest.skip("has thinking of its own")
    assert scored(problem, thinking + right).parts["accuracy"] == (2 / 3 if name == "drop" else 1)
    assert scored(problem, thinking + wrong).parts["accuracy"] == 0


@pytest.mark.parametrize("name", in_turn(set(ANSWERS)))
def test_unfinished_thinking_is_no_answer(name: str) -> None:
    score = scored(problems(name)[0], f"<think>{ANSWERS[name][0].replace('<think>', '').replace('</think>', '')}")
    assert score.parts["accuracy"] == 0 and score.extracted is None and not score.readable


def test_every_benchmark_has_answers_here_or_another_grader() -> None:
    others = JUDGED | {name for name in task_names() if find_task(name).verifier == HARNESS} | {"sprout"}
    assert set(ANSWERS) | others == set(task_names()) and not set(ANSWERS) & others
    assert all(find_task(name).verifier in RULES and grader_named(find_task(name).verifier) for name in ANSWERS)


@pytest.mark.parametrize("name", task_names())
def test_facts_about_benchmarks_are_complete(name: str) -> None:
    task = find_task(name)
    assert task.name == name and task.n > 0 and task.k > 0 and task.licence and task.title
    assert task.source or task.where or task.load
    assert (task.vary is None) == (task.variants == "")


def test_options_are_in_an_order_that_depends_on_the_question_only() -> None:
    first, second = problems("gpqa_diamond")
    again = problems("gpqa_diamond")
    assert first == again[0] and sorted(first.extra["options"]) == sorted(["240", "24", "60", "4 (per minute)"])
    assert {first.answer, second.answer} <= set("ABCD")
    assert first.extra["options"]["ABCD".index(first.answer)] == "240"


def test_window_of_livecodebench() -> None:
    assert len(problems("livecodebench:all")) == 3
    assert [p.family for p in problems("livecodebench:2025-01..2025-01")] == ["medium"]
    with pytest.raises(UserError, match=r"livecodebench:2025: must be YYYY-MM\.\.YYYY-MM"):
        find_task("livecodebench:2025")


def test_private_tests_are_read_but_never_unpickled(tmp_path: Path) -> None:
    import base64
    import zlib

    row = json.loads(_lines(fixture("livecodebench"))[0])
    assert [test["output"] for test in problems("livecodebench")[0].extra["tests"]] == ["3\n", "4\n"]
    row["private_test_cases"] = base64.b64encode(zlib.compress(b"cos\nsystem\n(S'true'\ntR.")).decode()
    (tmp_path / "lcb.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match="the pickle has the opcode GLOBAL: must be one text"):
        problems_of([PromptSource(source=f"bench:livecodebench={tmp_path / 'lcb.jsonl'}")])


@pytest.mark.slow
def test_methods_of_a_solution_are_called() -> None:
    method = problems("livecodebench")[1]
    assert method.extra["function"] == "Solution().total" and "class Solution" in method.prompt
    good = "```python\nclass Solution:\n    def total(self, nums):\n        return sum(nums)\n```"
    assert scored(method, good).parts["accuracy"] == 1
    assert scored(method, good.replace("sum", "max")).parts["accuracy"] == 0


def test_drop_has_examples_before_the_question() -> None:
    bare, shown = (problems(f"drop:{shots}-shot")[0].prompt for shots in (0, 3))
    assert "# Examples" not in bare and shown.count("Passage:") == 4 and problems("drop")[0].prompt == shown
    with pytest.raises(UserError, match="drop:9-shot: must be 0-shot, 1-shot"):
        find_task("drop:9-shot")


def test_drop_takes_the_best_of_several_answers() -> None:
    assert scored(problems("drop")[0], "Answer: eleven").parts["accuracy"] == 1
    assert scored(problems("drop")[0], "**Answer:**\neleven").parts["accuracy"] == 1
    assert scored(problems("drop")[0], "Answer: 7\nAnswer:\nAnswer: eleven").parts["accuracy"] == 1
    assert scored(problems("drop")[1], "Answer: Falk").parts["accuracy"] == pytest.approx(2 / 3)


def test_examples_are_other_problems_with_their_answers() -> None:
    (left,) = problems("mmlu:1-shot")
    (example,) = (problem for problem in problems("mmlu") if problem.question != left.question)
    assert left.prompt.startswith(f"# Examples\n\n{example.question}\n\nAnswer: {example.answer}\n\n# Your task\n\n")
    assert r"\boxed{" in problems("math500:1-shot")[0].prompt.partition("# Your task")[0]
    with pytest.raises(UserError, match="ifeval:2-shot: ifeval has no variants"):
        find_task("ifeval:2-shot")
    with pytest.raises(DataError, match=r"mmlu:2-shot.* 2 examples leave no problem of 2"):
        problems("mmlu:2-shot")


def test_articles_that_are_too_long_are_cut_in_proportion() -> None:
    row = json.loads(_lines(fixture("frames"))[0])
    row["wiki_items"] = [{"title": "Long", "text": "x" * 600_000}, {"title": "Short", "text": "y" * 200_000}]
    prompt = find_task("frames").problem(row).prompt
    assert (prompt.count("x"), prompt.count("yyyy") > 0) == (300_000 + row["Prompt"].count("x"), True)
    with pytest.raises(DataError, match="must have wiki_items"):
        find_task("frames").problem({"Prompt": "Who?", "Answer": "B"})


def test_subjects_of_a_folder_are_the_names_of_its_files() -> None:
    assert [problem.family for problem in problems("ceval")] == ["own_history", "own_logic"]
    assert "own_history" in problems("ceval")[0].prompt and "答案：X" in problems("ceval")[0].prompt


def test_a_limit_cuts_sprout_and_changes_no_problem() -> None:
    every = load_task(find_task("sprout"), PromptSource(source="bench:sprout"))
    assert len(every) == find_task("sprout").n
    assert load_task(find_task("sprout"), PromptSource(source="bench:sprout", limit=40)) == every[:40]
    assert {problem.family for problem in every[:40]} == {"arithmetic", "countdown", "logic"}
    assert {problem.level for problem in every[:40]} == {1, 2, 3, 4, 5}


def test_copies_with_other_columns_are_read_by_a_field_map(tmp_path: Path) -> None:
    (tmp_path / "aime.csv").write_text("Aufgabe,Ergebnis\n1+1?,2\n")
    source = f"bench:aime24={tmp_path / 'aime.csv'}"
    for fields in ({}, {"problem": "Aufgabe"}):
        with pytest.raises(DataError, match=r"row 1: the columns are Aufgabe, Ergebnis: must have answer\. .*--field"):
            problems_of([PromptSource(source=source, fields=fields)])
    named = PromptSource(source=source, fields={"problem": "Aufgabe", "answer": "Ergebnis"})
    assert problems_of([named])[0].answer == "2"
    with pytest.raises(DataError, match="fields names Augabe, but the columns are Aufgabe, Ergebnis; did you mean Auf"):
        problems_of([PromptSource(source=source, fields={"problem": "Augabe"})])
    (tmp_path / "aime.csv").write_text("problem,Answers\n1+1?,2\n")
    with pytest.raises(DataError, match=r"must have answer\. Name yours with --field answer=Answers, in a recipe"):
        problems_of([PromptSource(source=source)])


def test_missing_data_names_what_to_download_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"cluewsc: its data is not here\. To get it, download the dev .*Then put"):
        problems_of([PromptSource(source="bench:cluewsc")])
    (tmp_path / "data" / "bench").mkdir(parents=True)
    (tmp_path / "data" / "bench" / "cluewsc.jsonl").write_bytes(fixture("cluewsc").read_bytes())
    assert len(problems_of([PromptSource(source="bench:cluewsc", limit=1)])) == 1


def test_a_question_that_is_asked_twice_counts_twice(tmp_path: Path) -> None:
    row = _lines(fixture("mmlu"))[0]
    (tmp_path / "mmlu.jsonl").write_text(f"{row}\n{row}\n{row}\n")
    found = problems_of([PromptSource(source=f"bench:mmlu={tmp_path / 'mmlu.jsonl'}")])
    assert [problem.id.removeprefix(found[0].id) for problem in found] == ["", "-2", "-3"]


def test_unknown_names_list_the_benchmarks() -> None:
    with pytest.raises(UserError, match=r"unknown benchmark 'aime2024': did you mean aime24\? .*math500"):
        find_task("aime2024")
    with pytest.raises(UserError, match="math500:easy: math500 has no variants"):
        find_task("math500:easy")

"""Samples of our own evaluations score as they were graded, by every kind of grader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import chat_server
from transformers import PreTrainedTokenizerBase

from r1kit.config import Evaluate, PromptSource
from r1kit.data.store import DataError
from r1kit.engine.scripted import ScriptedEngine
from r1kit.evals.benchmark import evaluate
from r1kit.evals.named.sources import problems_of
from r1kit.evals.protocol import setting_of
from r1kit.evals.scoring.registry import score_files
from r1kit.evals.task import find_task
from r1kit.rewards import services
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import open_sandbox_for

FIXTURES = Path(__file__).parents[3] / "fixtures" / "evals" / "tasks"
RIGHT, WRONG = 0, 1
REPLIES = json.loads((FIXTURES / "answers.json").read_text(encoding="utf-8"))
REPLIES |= {
    "mmlu": ["B", "so it is D"],  # a bare letter counts only if the prompt did not ask for answer tags
    "sprout": ["</think> <answer>5</answer>", "no idea"],
    "swe_bench": ["```diff\n--- a\n+++ b\n```", "none"],
    **{name: ["It was good.", "It was bad."] for name in ("simpleqa", "frames", "alpaca_eval", "arena_hard")},
}
JUDGED = {"simpleqa": "A B", "frames": "TRUE FALSE", "alpaca_eval": "m M", "arena_hard": "[[A>B]] [[B>>A]]"}


@pytest.fixture(autouse=True)
def judge(tmp_path: Path) -> Iterator[None]:
    """A judge that likes answers with the word "good", and of two answers the second."""

    def reply(body: dict[str, Any]) -> str:
        asked = str(body["messages"])
        kind = next(name for name, words in MARKS.items() if words in asked)
        good, bad = JUDGED[kind].split()
        return good if "good" in asked else bad

    with chat_server(reply) as running:
        services.configure(Settings(judge=Endpoint(running.url, "a-judge", cache=str(tmp_path / "judge"), tries=1)))
        yield
    services.configure(Settings())


MARKS = {
    "simpleqa": "A for CORRECT",
    "frames": "TRUE if the answer",
    "alpaca_eval": "m or M only",
    "arena_hard": "Answer of assistant",
}


def data_of(name: str, folder: Path) -> Path:
    """The rows of ours; those of Arena-Hard get the baseline's answer, without which a program grades."""
    path = next(path for path in (FIXTURES / f"{name}{end}" for end in (".jsonl", ".csv", "")) if path.exists())
    if name != "arena_hard":
        return path
    rows = [json.loads(line) | {"baseline": "An answer."} for line in path.read_text().splitlines()]
    (folder / "arena.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "arena.jsonl"


def evaluated(name: str, template: str, folder: Path, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Write the evaluation of a model whose samples are right, wrong, right within thinking, and cut off."""
    source = PromptSource(source=f"bench:{name}" + ("" if name == "sprout" else f"={data_of(name, folder)}"), limit=2)
    problems = problems_of([source])
    right, wrong = REPLIES[name][RIGHT], REPLIES[name][WRONG]
    texts = [right, wrong, f"<think>hm: {wrong}</think>\n{right}", f"<think>{right} " + "and so on " * 60]
    config = Evaluate.model_validate(
        {"kind": "evaluate", "model": "m", "benchmarks": {name: [source]}, "template": template, "samples": 4}
    )
    setting = setting_of(config.model_copy(update={"max_completion_length": 400}), 1, find_task(name), [source])
    open_sandbox_for(problems)
    engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: texts[sample])
    evaluation = evaluate(
        engine,
        tokenizer,
        {name: problems},
        style=setting.style,
        samples=4,
        params=setting.params,
        settings={name: setting},
    )
    evaluation.publish("m", folder)
    return dict(evaluation.benchmarks[name])


KINDS = ["aime24", "mmlu", "mmlu_redux", "drop", "ifeval", "sprout", "simpleqa", "frames", "arena_hard", "alpaca_eval"]


@pytest.mark.slow
@pytest.mark.parametrize("template", ["none", "r1-zero"])
@pytest.mark.parametrize("name", [*KINDS, "humaneval"])
def test_stored_samples_score_as_they_were_graded(
    name: str, template: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    summary = evaluated(name, template, tmp_path, tokenizer)
    found = score_files(name, [tmp_path / "samples.jsonl"], "correct")
    assert found["agreement"] == 1 and found["n"] == summary["problems"] * 4
    metrics = found["metrics"]
    for key in ("pass@1", "cons@4", "pass@4", "unparsed", "standard_error"):  # one problem has no standard error
        assert metrics[key] == pytest.approx(100 * summary.get(key, 0.0)), key
    own = ("prompt_", "instruction_", "judge_", "correct", "score", "win_")
    others = {key for key in metrics if key.startswith(own)}
    assert all(metrics[key] == pytest.approx(100 * summary[key]) for key in others)
    assert len(others) >= (4 if name == "ifeval" else 1 if name in JUDGED else 0)
    if name not in ("sprout", "humaneval"):
        assert 0 < summary["pass@1"] < 1 or (name, template) == ("mmlu", "r1-zero"), "both grades occur"


@pytest.mark.slow
def test_answers_that_another_program_grades_are_ungraded(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    evaluated("swe_bench", "none", tmp_path, tokenizer)
    found = score_files("swe_bench", [tmp_path / "samples.jsonl"])
    assert found["metrics"]["ungraded"] == found["n"] > 0 and "pass@1" not in found["metrics"]


@pytest.mark.slow
def test_data_is_found_where_the_evaluation_found_it(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    evaluated("ifeval", "none", tmp_path, tokenizer)
    stated = json.loads((tmp_path / "results.json").read_text())["benchmarks"]["ifeval"]["protocol"]["sources"]
    assert stated == [{"source": f"bench:ifeval={FIXTURES / 'ifeval.jsonl'}", "limit": 2}]
    (tmp_path / "results.json").unlink()
    assert score_files("ifeval", [tmp_path / "samples.jsonl"], None, FIXTURES / "ifeval.jsonl")["n"] > 0
    other = tmp_path / "other.jsonl"
    other.write_text('{"key": 9, "prompt": "?", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}\n')
    with pytest.raises(DataError, match=r"no such problem in the benchmark's data\. Give the file .*--problems FILE"):
        score_files("ifeval", [tmp_path / "samples.jsonl"], None, other)

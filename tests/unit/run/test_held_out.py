"""RL stages do not train on the benchmarks of the recipe's evaluate stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit.config import RL, Recipe
from r1kit.data.store import write_jsonl
from r1kit.model.reference import ASSETS
from r1kit.recipe import load_recipe, unusable_inputs
from r1kit.run.differences import differences
from r1kit.run.resolve import ResolvedStage, resolve_stages
from r1kit.stages import rl
from r1kit.stages.context import StageContext

RECIPE = """
name = "r"
[stage.zero]
kind = "rl"
model = "sprout-base"
prompts = ["train.jsonl"]
[stage.eval]
kind = "evaluate"
model = "zero"
benchmarks = { sums = ["test.jsonl"] }
[stage.again]
kind = "evaluate"
model = "zero"
benchmarks = { sums = ["test.jsonl", "world:arithmetic"], seen = ["train.jsonl"] }
"""
QUESTIONS = [f"A train with {n} cars leaves the station at noon and returns {n} hours later" for n in range(4)]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "train.jsonl", QUESTIONS)
    write(tmp_path / "test.jsonl", QUESTIONS[:1])
    Path("r.toml").write_text(RECIPE)


def write(path: Path, questions: list[str]) -> None:
    write_jsonl(path, [{"question": text, "answer": "1"} for text in questions])


def recipe(*overrides: str) -> Recipe:
    return load_recipe("r.toml", overrides)


def resolved(*overrides: str) -> ResolvedStage:
    return resolve_stages(recipe(*overrides), "float32")[0]


def test_sources_of_all_evaluate_stages_are_held_out_except_those_trained_on() -> None:
    sources = {name: [s.source for s in group] for name, group in resolved().held_out.items()}
    assert sources == {"sums": ["test.jsonl", "world:arithmetic"]}


@pytest.mark.parametrize("override", ["stage.zero.ngram=0", 'stage.zero.prompts=["world:logic"]'])
def test_nothing_is_held_out_where_nothing_is_compared(override: str) -> None:
    before = resolved(override)
    write(Path("test.jsonl"), QUESTIONS[:2])
    assert before == resolved(override) and before.held_out == {} and "test.jsonl" not in before.parents


def test_stage_leaves_out_held_out_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = resolved()
    assert isinstance(stage.config, RL)
    models = {"sprout-base": ASSETS / "sprout-base"}
    context = StageContext("zero", tmp_path / "zero", 0, "float32", "cpu", 8, models, held_out=stage.held_out)
    trainer = rl.Trainer(stage.config, context)
    assert [problem.question for problem in trainer.prompts.problems] == QUESTIONS[1:]
    said = "train.jsonl: 1 of 4 prompts left out: they overlap with benchmarks (1 with sums)"
    assert said in capsys.readouterr().err and trainer.benchmarks == {}, "they are not evaluated during training"


def test_other_benchmarks_make_another_stage() -> None:
    before = resolved()
    changed = resolved('stage.eval.benchmarks.sums=["world:logic"]', 'stage.again.benchmarks.sums=["world:logic"]')
    assert changed.identity != before.identity
    (line,) = [text for text in differences(changed, before.inputs(), {}, (0, 0)) if text.startswith("benchmarks of")]
    assert line == (
        'benchmarks of evaluate stages: {"sums": ["test.jsonl", {"source": "world:arithmetic"}]} before, '
        '{"sums": ["world:logic"]} now'
    ).replace('{"source": "world:arithmetic"}', '"world:arithmetic"')
    write(Path("test.jsonl"), QUESTIONS[:2])
    assert resolved().identity != before.identity
    assert "test.jsonl has changed" in differences(resolved(), before.inputs(), {}, (0, 0))


def test_benchmarks_of_later_stages_must_exist_before_training() -> None:
    Path("test.jsonl").unlink()
    (mistake,) = unusable_inputs(recipe(), ["zero"])
    assert str(mistake).startswith("stage.eval.benchmarks.sums[0]")
    assert not unusable_inputs(recipe("stage.zero.ngram=0"), ["zero"])

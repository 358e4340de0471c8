"""Runs reuse finished stages, refuse changed recipes, and write artifacts, lineage and results."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tiny_run import RECIPE, start_command

import r1kit
from r1kit import files, hashing
from r1kit.config import Recipe
from r1kit.errors import UserError
from r1kit.recipe import dump_toml, load_recipe
from r1kit.run import pipeline
from r1kit.run.differences import differences
from r1kit.run.resolve import ADDED_KEYS, resolve_stages


def test_run_writes_recipe_lineage_and_results(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    result = pipeline.run(recipe)
    assert result.dir == Path("runs/tiny") and list(result.evals) == ["eval"] and result.seconds > 0
    titles = [line for line in capsys.readouterr().err.splitlines() if line.startswith("stage")]
    assert [title.partition(",")[0] for title in titles] == [
        "stage 1/3 zero (rl)", "stage 2/3 more (rl)", "stage 3/3 eval (evaluate)"
    ]  # fmt: skip
    assert " so far, remaining: about " in titles[1] and titles[1].endswith(" and 1 stage without an estimate")
    assert load_recipe("runs/tiny/recipe.toml").model_dump() == recipe.model_dump()
    lineage = files.read_json(result.dir / "lineage.json")
    assert {"r1kit", "source", "commit", "python", "versions", "platform", "stages"} <= set(lineage)
    zero, more = lineage["stages"]["zero"], lineage["stages"]["more"]
    assert more["parents"]["zero"] == zero["identity"] and {"base", "problems.jsonl"} <= set(zero["parents"])
    assert zero["started"] <= zero["finished"]


def test_artifact_records_outputs_seed_and_summary(recipe: Recipe) -> None:
    stages = pipeline.run(recipe, until="more").dir / "stages"
    artifact = files.read_json(stages / "zero/artifact.json")
    assert artifact["outputs"] == {"model/config.json": hashing.file_sha256(stages / "zero/model/config.json")}
    assert artifact["seed"] == hashing.derive_seed(0, "zero")
    assert artifact["seed"] != files.read_json(stages / "more/artifact.json")["seed"]
    assert artifact["summary"]["last"] == files.read_json(stages / "zero/model/config.json")["value"]


def test_finished_stages_are_skipped_and_unchanged(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    first = pipeline.run(recipe, "run", until="more")
    assert not (first.dir / "stages/eval").exists() and first.evals == {}
    before = {path: path.stat().st_mtime_ns for path in first.dir.glob("stages/**/*")}
    capsys.readouterr()
    pipeline.run(recipe, "run")
    assert "stage 1/3 zero (rl): already finished, skipped" in capsys.readouterr().err
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert (first.dir / "stages/eval/artifact.json").exists()


def test_changed_recipe_is_refused_and_nothing_is_written(recipe: Recipe) -> None:
    def all_files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Path("run").rglob("*.*") if path.is_file()}

    pipeline.run(recipe, "run", until="zero")
    before = all_files()
    changed = load_recipe("tiny.toml", ["stage.zero.steps=13", "seed=1"])
    with pytest.raises(UserError, match="another --run-dir") as caught:
        pipeline.run(changed, "run")
    assert "stage.zero.steps: 12 before, 13 now" in str(caught.value) and "seed: 0 before, 1 now" in str(caught.value)
    assert all_files() == before


def test_stages_that_have_not_started_may_change(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    pipeline.run(load_recipe("tiny.toml", ["stage.more.steps=5", "max_concurrent=7"]), "run")
    assert "steps = 5" in Path("run/recipe.toml").read_text()


@pytest.mark.parametrize("changed", ["base/config.json", "problems.jsonl"])
def test_unfinished_stage_with_changed_inputs_is_refused(recipe: Recipe, changed: str) -> None:
    failing = load_recipe("tiny.toml", ["stage.zero.template=chat"])
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        pipeline.run(failing, "run")
    Path(changed).write_text('{"value": 2}')
    with pytest.raises(UserError, match=f"{changed.partition('/')[0]} has changed"):
        pipeline.run(failing, "run")


def test_another_version_of_r1kit_is_refused(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.run(recipe, "run")
    monkeypatch.setattr(r1kit, "__version__", "99")
    with pytest.raises(UserError, match=r"r1kit: version .* before, 99 now"):
        pipeline.run(recipe, "run")


def test_stage_that_failed_at_its_start_may_change(recipe: Recipe) -> None:
    with pytest.raises(RuntimeError) as caught:
        pipeline.run(load_recipe("tiny.toml", ["stage.zero.template=none"]), "run")
    assert "error.txt" in caught.value.__notes__[0]
    assert "at the start" in Path("run/stages/zero/error.txt").read_text()
    pipeline.run(recipe, "run")
    assert not Path("run/stages/zero/error.txt").exists()


def test_edited_model_of_an_earlier_stage_is_refused(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    Path("run/stages/zero/model/config.json").write_text('{"value": 5}')
    with pytest.raises(UserError, match=r"model/config\.json differ"):
        pipeline.run(recipe, "run")


def test_directory_that_is_not_a_run_is_refused(recipe: Recipe) -> None:
    before = sorted(os.listdir("base"))
    with pytest.raises(UserError, match="something other than a run"):
        pipeline.run(recipe, "base")
    assert sorted(os.listdir("base")) == before


def test_until_must_name_a_stage(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="--until zer: no such stage; stages: zero, more, eval"):
        pipeline.run(recipe, "run", until="zer")
    assert not Path("run").exists()


def test_recipe_from_python_is_checked(recipe: Recipe) -> None:
    wrong = recipe.model_copy(update={"stage": {"more": recipe.stage["more"]}})
    with pytest.raises(UserError, match=r"stage\.more\.model"):
        pipeline.run(wrong, "run")


def test_identity_depends_only_on_what_determines_the_result(recipe: Recipe) -> None:
    def identities(*overrides: str, dtype: str = "float32") -> list[str]:
        return [stage.identity for stage in resolve_stages(load_recipe("tiny.toml", overrides), dtype)]

    base = identities()
    assert identities("max_concurrent=3", "name=other") == base
    assert identities("stage.more.steps=9")[0] == base[0]
    for different in (identities("stage.zero.steps=9"), identities("seed=1"), identities(dtype="bfloat16")):
        assert not set(different) & set(base), "dependent stages change with it"
    assert identities("processes=2", "stage.zero.shard_weights=true") == base
    assert identities(f"stage.zero.seed={hashing.derive_seed(0, 'zero')}") == base


def test_added_keys_at_their_default_change_no_identity(recipe: Recipe) -> None:
    (base, *_), (changed, *_) = (
        resolve_stages(load_recipe("tiny.toml", overrides), "float32")
        for overrides in ([], ["stage.zero.rollouts_ahead=1"])
    )
    old = base.config.model_dump(mode="json", exclude={"watchdogs", "shard_weights", *ADDED_KEYS})
    settings = {**old, "seed": base.seed, "dtype": "float32"}
    assert base.identity == hashing.identity("rl", settings, base.parents, r1kit.__version__)
    assert changed.identity != base.identity
    recorded = {**base.inputs(), "config": {**old, "steps": 99}}
    assert differences(base, recorded, ["zero"], (0, 0)) == ["stage.zero.steps: 99 before, 12 now"]


def test_judge_of_the_recipe_reaches_stages_and_identities(recipe: Recipe) -> None:
    def with_judge(model: str) -> Recipe:
        return load_recipe("tiny.toml", [f'judge={{base_url = "http://localhost:1/v1", model = "{model}"}}'])

    first, second = (resolve_stages(with_judge(model), "float32") for model in ("a", "b"))
    assert first[0].parents["judge:a"] == "judge:a" and first[0].identity != second[0].identity
    directory = pipeline.run(with_judge("a"), "run", until="zero").dir / "stages/zero"
    judge = files.read_json(directory / "artifact.json")["summary"]["judge"]
    assert judge["base_url"] == "http://localhost:1/v1" and judge["model"] == "a"
    assert judge["cache"] == str(directory / "endpoint")
    with pytest.raises(UserError, match=r'judge\.model: "a" before, "b" now'):
        pipeline.run(with_judge("b"), "run")


def test_resolved_recipe_loads_to_an_equal_recipe(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "resolved.toml").write_text(dump_toml(recipe))
    assert load_recipe("resolved.toml") == recipe


def test_resolved_recipe_imports_rewards_from_the_original_directory(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/own_reward.py").write_text("def brevity(problem, text):\n    return 1.0\n")
    rewards = 'rewards = { accuracy = 1.0, "own_reward:brevity" = 0.1 }\n'
    (tmp_path / "far/own.toml").write_text(RECIPE.replace("steps = 12\n", "steps = 12\n" + rewards))
    pipeline.run(load_recipe("far/own.toml"), "run", until="zero")
    resolved = load_recipe("run/recipe.toml")
    assert resolved.folder == tmp_path / "far"
    pipeline.run(resolved, "run")


@pytest.mark.slow
def test_json_output_is_the_last_line_of_stdout(recipe: Recipe) -> None:
    out, errors = (process := start_command("run", "--json")).communicate(timeout=300)
    assert process.returncode == 0, errors
    result = json.loads(out.splitlines()[-1])
    assert result["run"] == "run" and list(result["evals"]) == ["eval"] and len(out.splitlines()) == 1

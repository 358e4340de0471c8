"""--from runs stages again in place, --fork reuses them in a new run, and --dry-run shows what would happen."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import contents

from r1kit import files
from r1kit.config import Recipe
from r1kit.errors import UserError
from r1kit.recipe import load_recipe
from r1kit.run import pipeline, preview


def actions(recipe: Recipe, redo_from: str | None = None) -> list[str]:
    return [stage.action for stage in preview.preview(recipe, Path("run"), redo_from=redo_from)]


def test_fork_reuses_unchanged_finished_stages(recipe: Recipe) -> None:
    def all_files() -> dict[Path, tuple[bytes, int]]:
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("run").rglob("*.*") if p.is_file()}

    pipeline.run(recipe, "run")
    changed = load_recipe("tiny.toml", ["stage.more.steps=5"])
    with pytest.raises(UserError, match="--fork NEWDIR"):
        pipeline.run(changed, "run")
    before = all_files()
    pipeline.run(changed, "run", fork_to="new", until="zero")
    pipeline.run(changed, "run", fork_to="new")  # the same command continues
    assert all_files() == before, "the original run is unchanged"
    pipeline.run(changed, "fresh")
    assert contents("new/stages/more") == contents("fresh/stages/more")
    assert contents("new/stages/more") != contents("run/stages/more")
    lineage, model = files.read_json(Path("new/lineage.json")), "stages/zero/model/config.json"
    assert lineage["forked_from"] == str(Path("run").resolve())
    assert lineage["stages"]["zero"] == files.read_json(Path("run/lineage.json"))["stages"]["zero"]
    assert Path("new", model).samefile(Path("run", model)) and not Path("new/stages/zero/checkpoints").exists()


def test_fork_needs_another_run(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    for old, new, fault in (("none", "new", "holds no run"), ("run", "run", "is the same directory")):
        with pytest.raises(UserError, match=f"--fork {new}: --run-dir {old} {fault}; give the run to fork from"):
            pipeline.run(recipe, old, fork_to=new)


def test_from_reruns_a_stage_and_its_dependents(recipe: Recipe) -> None:
    pipeline.run(recipe, "run")
    before, zero = contents("run"), Path("run/stages/zero/artifact.json").stat().st_mtime_ns
    first = files.read_json(Path("run/stages/more/artifact.json"))
    changed = load_recipe("tiny.toml", ["stage.more.steps=5"])
    assert actions(changed, redo_from="more") == ["reuse", "redo", "redo"] and contents("run") == before
    pipeline.run(changed, "run", redo_from="more")
    assert not Path("run/replaced").exists() and Path("run/stages/zero/artifact.json").stat().st_mtime_ns == zero
    pipeline.run(changed, "fresh")
    assert contents("run/stages") == contents("fresh/stages") != before
    again = files.read_json(Path("run/stages/more/artifact.json"))
    assert again["started"] >= first["finished"] and again["seconds"] < 60
    assert actions(changed) == ["reuse"] * 3 and actions(changed, redo_from="zero") == ["redo"] * 3


def test_from_keeps_the_previous_results_until_all_have_finished(
    recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.run(recipe, "run")
    before = contents("run")
    failing = load_recipe("tiny.toml", ["stage.more.steps=5", "stage.more.template=chat", "stage.more.save_every=2"])
    capsys.readouterr()
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        pipeline.run(failing, "run", redo_from="more")
    assert "running again: more, eval. The previous results stay in run/replaced" in capsys.readouterr().err
    replaced = contents("run/replaced")
    old = {name.removeprefix("stages/"): data for name, data in before.items()}
    assert replaced == {name: old[name] for name in old if name.startswith(("more/", "eval/"))} != {}
    changed = load_recipe("tiny.toml", ["stage.more.steps=5"])
    assert actions(failing, redo_from="more") == ["reuse", "resume", "run"], "the same command continues"
    assert actions(changed, redo_from="more") == ["reuse", "redo", "run"], "another recipe starts again"
    pipeline.run(changed, "run", redo_from="more", until="more")
    assert contents("run/replaced") == replaced
    pipeline.run(changed, "run", redo_from="more")
    assert not Path("run/replaced").exists()


def test_from_refuses_invalid_requests(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="--from mor: no such stage; stages: zero, more, eval"):
        pipeline.run(recipe, "run", redo_from="mor")
    with pytest.raises(UserError, match="use one of them"):
        pipeline.run(recipe, "run", redo_from="more", fork_to="new")
    pipeline.run(recipe, "kept", until="zero")
    with pytest.raises(UserError, match=r"stage\.zero\.steps: 12 before, 13 now"):
        pipeline.run(load_recipe("tiny.toml", ["stage.zero.steps=13"]), "kept", redo_from="more")
    with pytest.raises(UserError, match=r"stage\.zero\.steps: 12 before, 13 now"):
        preview.preview(load_recipe("tiny.toml", ["stage.zero.steps=13"]), Path("kept"), redo_from="more")


def test_preview_text_names_actions_and_totals(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    forecasts = preview.preview(recipe, Path("run"), until="more")
    lines = preview.render(Path("run"), forecasts).splitlines()
    assert lines[0] == "run: 2 stages; nothing was run or written"
    assert lines[1].startswith("  1/2 zero (rl)  reuse, took 0:0")
    assert lines[2].startswith("  2/2 more (rl)  run, about 0:0")
    assert lines[3].startswith("to do: 1 of 2 stages, about 0:0")

"""--amend: a stage that has begun continues from its last checkpoint with changed settings, and its record says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_run import contents, run_killed

from r1kit import files, machine
from r1kit.config import RL, Recipe
from r1kit.errors import UserError
from r1kit.recipe import load_recipe
from r1kit.report import ancestry
from r1kit.run import pipeline, preview
from r1kit.run.resolve import resolve_stages

SHORT, MORE = "stage.zero.num_generations=4", "stage.zero.num_generations=8"


def change(*overrides: str) -> Recipe:
    return load_recipe("tiny.toml", overrides)


def amend(*overrides: str, run: str = "run", **keys: Any) -> None:
    pipeline.run(change(*overrides), run, amend=True, **keys)


def record(stage: str = "zero", run: str = "run") -> dict[str, Any]:
    """The record of an unfinished or finished stage."""
    return files.read_json(Path(run, "lineage.json"))["stages"][stage]


@pytest.fixture
def half_done(recipe: Recipe) -> None:
    """Make the directory `run`, whose stage zero has a checkpoint of step 2."""
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        pipeline.run(change("stage.zero.template=chat"), "run")


@pytest.mark.usefixtures("half_done")
def test_amended_stage_continues_with_new_settings_and_records_them() -> None:
    before = record()
    with pytest.raises(UserError, match="Add --amend to continue zero from its last checkpoint"):
        pipeline.run(change(MORE, "stage.zero.steps=14"), "run")
    settings = ("stage.zero.steps=14", MORE)
    [zero, more, _] = preview.preview(change(*settings), Path("run"), amend=True)
    assert (zero.action, zero.start, more.action) == ("amend", "step_00000002", "run")
    assert record() == before, "a preview writes nothing"
    text = preview.render(Path("run"), [zero, more])
    assert "after step 2: " in text and "num_generations from 16 to 8" in text and "steps from 12 to 14" in text
    amend(*settings)
    amendment = record()["amendments"]
    artifact = files.read_json(Path("run/stages/zero/artifact.json"))
    assert artifact["amendments"] == amendment and len(amendment) == 1
    assert amendment[0]["step"] == 2 and amendment[0]["identity"] == before["identity"] != artifact["identity"]
    assert amendment[0]["changed"] == {"template": ["chat", "r1-zero"], "num_generations": [16, 8], "steps": [12, 14]}
    assert len(Path("run/stages/zero/metrics.jsonl").read_text().splitlines()) == 14
    text = ancestry.render(ancestry.trace(Path("run"), "zero"))
    assert 'amended    after step 2: template from "chat" to "r1-zero"' in text and "steps from 12 to 14" in text
    pipeline.run(change(*settings), "fresh")
    assert contents("run/stages") != contents("fresh/stages"), "two steps had other settings"
    done = contents("run")
    pipeline.run(change(*settings), "run")  # without --amend
    amend(*settings)
    assert contents("run") == done and record()["amendments"] == amendment, "the same command changes nothing"


@pytest.mark.usefixtures("half_done")
def test_second_amendment_and_identities() -> None:
    identities = [record()["identity"]]
    for generations in (8, 4):
        with pytest.raises(RuntimeError, match="after a checkpoint"):
            amend("stage.zero.template=chat", f"stage.zero.num_generations={generations}")
        identities.append(record()["identity"])
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        amend("stage.zero.template=chat")  # the first settings again
    assert [each["step"] for each in record()["amendments"]] == [2, 4, 6]
    identities.append(record()["identity"])
    assert len(set(identities)) == 4, "histories differ, though the first and the last settings are the same"
    with pytest.raises(UserError, match=r"num_generations: 16 before, 4 now"):
        pipeline.run(change("stage.zero.template=chat", SHORT), "run")


@pytest.mark.slow
@pytest.mark.usefixtures("half_done")
def test_killed_amendments_end_in_the_same_bytes() -> None:
    shutil.copytree("run", "undisturbed")
    amend(MORE, "stage.zero.steps=14", run="undisturbed")
    run_killed("run", "--amend", "--set", MORE, "--set", "stage.zero.steps=14")
    undisturbed, killed = contents("undisturbed"), contents("run")
    assert [name for name in undisturbed | killed if undisturbed.get(name) != killed.get(name)] == ["recipe.toml"]
    assert [each["step"] for each in record()["amendments"]] == [2]


def test_finished_stage_gets_more_steps_and_its_dependents_run_again(
    recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.run(recipe, "run")
    shutil.copytree("run", "again")
    longer = ("stage.zero.steps=20", MORE)
    actions = [stage.action for stage in preview.preview(change(*longer), Path("run"), amend=True)]
    assert actions == ["amend", "redo", "redo"]
    capsys.readouterr()
    amend(*longer)
    output = capsys.readouterr().err
    assert "running again: more, eval" in output and "zero: continues from step 12 with the new settings" in output
    assert not Path("run/replaced").exists()
    assert len(Path("run/stages/zero/metrics.jsonl").read_text().splitlines()) == 20
    assert record("more")["parents"]["zero"] == record()["identity"]
    amend(*longer, run="again", until="zero")
    assert {path.name for path in Path("again/replaced").iterdir()} == {"more", "eval"}
    pipeline.run(change(*longer), "again")
    assert contents("again") == contents("run")


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["stage.zero.steps=12", MORE], "it has finished with steps = 12, and steps = 12 leaves nothing to train"),
        (["seed=1"], "seed has changed, and its random numbers"),
        (["stage.zero.steps=20", "stage.zero.lora_rank=4"], "lora_rank has changed, and the weights in its checkpoint"),
        (["stage.zero.steps=20", "stage.zero.adam_8bit=true"], "adam_8bit has changed, and the optimizer state"),
        (["stage.eval.samples=2"], "a stage of kind evaluate has no checkpoints"),
        (["stage.zero.steps=20", "stage.zero.model=sprout-base"], "model has changed, and the weights"),
    ],
)
def test_what_cannot_be_amended_is_refused_with_the_reason(recipe: Recipe, overrides: list[str], reason: str) -> None:
    pipeline.run(recipe, "run")
    before = contents("run")
    with pytest.raises(UserError, match=reason) as caught:
        amend(*overrides)
    assert "--from" in str(caught.value) and "--fork NEWDIR" in str(caught.value)
    with pytest.raises(UserError, match=reason):
        preview.preview(change(*overrides), Path("run"), amend=True)
    assert contents("run") == before


def test_amendment_needs_a_checkpoint_and_steps_to_do(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.run(recipe, "run")
    with pytest.raises(UserError, match="--amend continues stages in place, and --fork"):
        amend(fork_to="new")
    shutil.rmtree("run/stages/zero/checkpoints")
    with pytest.raises(UserError, match="it has finished, and its checkpoints are gone"):
        amend("stage.zero.steps=20")
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        pipeline.run(change("stage.zero.template=chat", "stage.zero.save_every=6"), "half")
    with pytest.raises(UserError, match="steps = 5, but its last checkpoint is of step 6"):
        amend("stage.zero.steps=5", run="half")
    amend("stage.zero.steps=6", run="half", until="zero")
    assert len(Path("half/stages/zero/metrics.jsonl").read_text().splitlines()) == 6


def test_damaged_checkpoint_is_not_continued_from(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    Path("run/stages/zero/checkpoints/step_00000012/state.json").write_text("{}")
    amend("stage.zero.steps=14", until="zero")
    assert [each["step"] for each in record()["amendments"]] == [10]


def test_stage_without_a_checkpoint_starts_again(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.run(change("stage.zero.steps=5"), "fresh")
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        pipeline.run(change("stage.zero.template=chat"), "run")
    shutil.rmtree("run/stages/zero/checkpoints")
    amend("stage.zero.steps=5")
    assert "zero: starts again, for it has no checkpoint, with the new settings" in capsys.readouterr().err
    assert record()["amendments"] == [] and record()["identity"] == record(run="fresh")["identity"]
    assert contents("run/stages") == contents("fresh/stages")


@pytest.mark.usefixtures("half_done")
def test_amended_stages_are_forked_and_run_again() -> None:
    amend(MORE, until="zero")
    pipeline.run(change(MORE, "stage.more.steps=5"), "run", fork_to="new")
    assert record(run="new") == record() and contents("new/stages/zero").keys() >= {"model/config.json"}
    dtype = machine.choose_compute("cpu", "auto").dtype
    plain = {stage.name: stage.identity for stage in resolve_stages(change(MORE), dtype)}
    assert record()["identity"] != plain["zero"]
    pipeline.run(change(MORE), "run", redo_from="zero")
    assert record()["identity"] == plain["zero"] and record()["amendments"] == []
    pipeline.run(change(MORE), "run")  # finished


def test_reference_model_cannot_be_added(recipe: Recipe) -> None:
    with pytest.raises(RuntimeError, match="after a checkpoint"):
        pipeline.run(change("stage.zero.template=chat", "stage.zero.beta=0"), "run")
    assert RL.model_fields["beta"].default > 0
    with pytest.raises(UserError, match="beta was 0, so its checkpoint holds no reference model"):
        amend("stage.zero.template=chat")


@pytest.mark.usefixtures("half_done")
def test_critic_cannot_be_added() -> None:
    with pytest.raises(UserError, match="its checkpoint holds no critic, for its objective had none"):
        amend("stage.zero.objective=ppo")

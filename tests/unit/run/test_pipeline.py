"""Order, reuse, resume, refusal and lineage, with stages small enough to be killed a dozen times a second."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import r1kit
from r1kit import files, hashing
from r1kit.config import Recipe
from r1kit.errors import UserError
from r1kit.plan import Plan, StagePlan
from r1kit.recipe import dump_toml, load_recipe
from r1kit.report import ancestry
from r1kit.run import pipeline, preview
from r1kit.run.forecast import forecast

# A stage like the real ones in all that concerns the pipeline: it trains step by step, checkpoints, logs, resumes
# from its last checkpoint, and publishes. Its model depends on its seed, its config and the model it reads.
TINY_STAGE = """
import json, os, time
from r1kit import files, hashing
from r1kit.metrics import log

def run(config, context):
    base = files.read_json(context.models[config.model] / "config.json")["value"]
    if config.kind == "evaluate":
        found = {"model": config.model, "benchmarks": {name: {"pass@1": base / 2**63} for name in config.benchmarks}}
        files.write_json(context.dir / "data" / "results.json", found)
        return {}
    metrics = log.MetricsLog(context.dir / "metrics.jsonl")
    saved = context.dir / "checkpoints" / "last.json"
    state = files.read_json(saved) if saved.exists() else {"step": 0, "value": base, "logged": 0}
    if metrics.path.exists():
        os.truncate(metrics.path, state["logged"])
    if config.template == "none":
        raise RuntimeError("at the start")
    for step in range(state["step"] + 1, config.steps + 1):
        time.sleep(config.learning_rate)
        value = hashing.derive_seed(context.seed, state["value"], step)
        metrics.append({"step": step, "value": value})
        state = {"step": step, "value": value, "logged": metrics.path.stat().st_size}
        if step % config.save_every == 0:
            files.write_json(saved, state)
            if config.template == "chat":
                raise RuntimeError("under way")
    tmp = context.dir / "model.tmp"
    tmp.mkdir(exist_ok=True)
    (tmp / "config.json").write_text(json.dumps({"value": state["value"]}))
    files.publish(tmp, context.dir / "model")
    return {"last": state["value"]}
"""
RECIPE = """
name = "tiny"
device = "cpu"
[stage.zero]
kind = "rl"
model = "base"
prompts = ["problems.jsonl"]
steps = 12
save_every = 2
learning_rate = 0.00001
[stage.more]
kind = "rl"
model = "zero"
prompts = ["world:arithmetic"]
steps = 4
[stage.eval]
kind = "evaluate"
model = "more"
benchmarks = { sums = ["world:arithmetic"] }
"""
COMMAND = """
import sys
from r1kit import cli
from r1kit.run import pipeline
pipeline.STAGES.update(rl="tiny_stage", evaluate="tiny_stage")
if "--no-report" in sys.argv:
    cli._write_report = cli._print_table = lambda run_dir: None
    sys.argv.remove("--no-report")
sys.argv[1:1] = ["run", "tiny.toml", "--run-dir"]
cli.main()
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The tiny recipe, in a working directory with its base model, its problems and its stages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for kind in ("rl", "evaluate"):
        monkeypatch.setitem(pipeline.STAGES, kind, "tiny_stage")
    files = {"tiny_stage.py": TINY_STAGE, "tiny.toml": RECIPE, "command.py": COMMAND, "problems.jsonl": "{}\n"}
    for name, text in {**files, "base/config.json": '{"value": 1}'}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return load_recipe("tiny.toml")


def contents(run_dir: Path) -> dict[str, bytes]:
    """What must not depend on how often a run was interrupted."""
    kept = ("metrics.jsonl", "config.json", "results.json", "last.json", "recipe.toml")
    return {str(p.relative_to(run_dir)): p.read_bytes() for p in sorted(run_dir.rglob("*")) if p.name in kept}


def command(run_dir: str, *args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(r1kit.__file__).parents[1]), "."])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "command.py", run_dir, *args], env=environment, **pipes)


def test_a_run_leaves_its_recipe_its_lineage_and_its_results(recipe: Recipe, capsys: pytest.CaptureFixture) -> None:
    result = pipeline.run(recipe)
    assert result.dir == Path("runs/tiny") and list(result.evals) == ["eval"] and result.seconds > 0
    said = capsys.readouterr().err
    titles = [line for line in said.splitlines() if line.startswith("stage")]
    assert [title.partition(",")[0] for title in titles] == [
        "stage 1/3 zero (rl)", "stage 2/3 more (rl)", "stage 3/3 eval (evaluate)"
    ]  # fmt: skip
    assert " so far, to go about " in titles[1] and titles[1].endswith(" and 1 stage of a kind not timed yet")
    assert load_recipe("runs/tiny/recipe.toml").model_dump() == recipe.model_dump()
    lineage = files.read_json(result.dir / "lineage.json")
    assert {"r1kit", "source", "commit", "python", "versions", "platform", "stages"} <= set(lineage)
    zero, more = lineage["stages"]["zero"], lineage["stages"]["more"]
    assert more["parents"]["zero"] == zero["identity"] and set(zero["parents"]) == {"base", "problems.jsonl"}
    assert zero["started"] <= zero["finished"]
    made = files.read_json(result.dir / "stages/zero/artifact.json")
    assert made["outputs"] == {"model/config.json": hashing.file_sha256(result.dir / "stages/zero/model/config.json")}
    assert (
        made["seed"]
        == hashing.derive_seed(0, "zero")
        != files.read_json(result.dir / "stages/more/artifact.json")["seed"]
    )
    assert made["summary"]["last"] == files.read_json(result.dir / "stages/zero/model/config.json")["value"]


def test_finished_stages_are_skipped_and_untouched(recipe: Recipe, capsys: pytest.CaptureFixture) -> None:
    first = pipeline.run(recipe, "run", until="more")
    assert not (first.dir / "stages/eval").exists() and first.evals == {}
    before = {path: path.stat().st_mtime_ns for path in first.dir.glob("stages/**/*")}
    capsys.readouterr()
    pipeline.run(recipe, "run")
    assert "stage 1/3 zero (rl): finished already, skipped" in capsys.readouterr().err
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert (first.dir / "stages/eval/artifact.json").exists()


def test_killed_at_random_instants_a_run_ends_in_the_same_bytes(recipe: Recipe) -> None:
    pipeline.run(recipe, "whole")
    rng, kills = random.Random(0), 0
    while True:
        process = command("killed", "--no-report", "--set", "stage.zero.learning_rate=0.03")
        try:
            _, errors = process.communicate(timeout=rng.uniform(0.2, 0.5) * 1.15**kills)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            assert kills < 30, "no progress between kills"
    assert process.returncode == 0, errors
    assert kills > 0
    whole, killed = contents(Path("whole")), contents(Path("killed"))
    assert whole.keys() == killed.keys()
    assert [name for name in whole if whole[name] != killed[name]] == ["recipe.toml"]  # it sleeps longer


def test_sigterm_says_how_to_go_on_and_the_same_command_does(recipe: Recipe) -> None:
    process = command("run", "--set", "stage.zero.learning_rate=0.05")
    while not Path("run/stages/zero/checkpoints/last.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted in stage zero; run the same command again to continue from its last checkpoint" in errors
    assert "Traceback" not in errors
    _, errors = command("run", "--no-report", "--set", "stage.zero.learning_rate=0.05").communicate(timeout=300)
    assert len(Path("run/stages/zero/metrics.jsonl").read_text().splitlines()) == 12
    assert Path("run/stages/eval/artifact.json").exists(), errors


def test_a_changed_recipe_is_refused_with_the_keys_and_nothing_is_written(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    before = {path: path.read_bytes() for path in Path("run").rglob("*.*") if path.is_file()}
    changed = load_recipe("tiny.toml", ["stage.zero.steps=13", "seed=1"])
    with pytest.raises(UserError, match="another --run-dir") as caught:
        pipeline.run(changed, "run")
    assert "stage.zero.steps: 12 then, 13 now" in str(caught.value) and "stage.zero.seed" in str(caught.value)
    assert {path: path.read_bytes() for path in Path("run").rglob("*.*") if path.is_file()} == before


def test_stages_that_have_not_started_may_change(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    pipeline.run(load_recipe("tiny.toml", ["stage.more.steps=5", "max_concurrent=7"]), "run")
    assert "steps = 5" in Path("run/recipe.toml").read_text()


@pytest.mark.parametrize("changed", ["base/config.json", "problems.jsonl"])
def test_a_half_done_stage_notices_that_what_it_reads_has_changed(recipe: Recipe, changed: str) -> None:
    broken = load_recipe("tiny.toml", ["stage.zero.template=chat"])
    with pytest.raises(RuntimeError, match="under way"):
        pipeline.run(broken, "run")
    Path(changed).write_text('{"value": 2}')
    with pytest.raises(UserError, match=f"stage.zero.parents.{changed.partition('/')[0]}: "):
        pipeline.run(broken, "run")


def test_another_version_is_refused(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.run(recipe, "run")
    monkeypatch.setattr(r1kit, "__version__", "99")
    with pytest.raises(UserError, match="stage.zero.r1kit: .* then, 99 now"):
        pipeline.run(recipe, "run")


def test_a_stage_that_failed_at_its_start_may_be_corrected(recipe: Recipe) -> None:
    with pytest.raises(RuntimeError) as caught:
        pipeline.run(load_recipe("tiny.toml", ["stage.zero.template=none"]), "run")
    assert "error.txt" in caught.value.__notes__[0]
    assert "at the start" in Path("run/stages/zero/error.txt").read_text()
    pipeline.run(recipe, "run")
    assert not Path("run/stages/zero/error.txt").exists()


def test_a_damaged_model_is_named_before_it_is_used(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    Path("run/stages/zero/model/config.json").write_text('{"value": 5}')
    with pytest.raises(UserError, match="model/config.json differ"):
        pipeline.run(recipe, "run")


def test_two_processes_cannot_share_a_run_and_a_killed_one_does_not_hold_it(recipe: Recipe) -> None:
    slow = ("--no-report", "--set", "stage.zero.learning_rate=0.2")
    first = command("run", *slow)
    while not Path("run/stages/zero/metrics.jsonl").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    _, errors = (second := command("run", *slow)).communicate(timeout=300)
    assert second.returncode == 2 and f"process {first.pid}" in errors and "--run-dir" in errors
    first.kill()
    first.communicate()
    _, errors = (third := command("run", *slow)).communicate(timeout=300)
    assert third.returncode == 0, errors


def test_a_fork_takes_the_finished_stages_that_still_hold_and_leaves_the_run_alone(recipe: Recipe) -> None:
    def everything() -> dict[Path, tuple[bytes, int]]:
        return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("run").rglob("*.*") if p.is_file()}

    pipeline.run(recipe, "run")
    changed = load_recipe("tiny.toml", ["stage.more.steps=5"])
    with pytest.raises(UserError, match="--fork NEWDIR"):
        pipeline.run(changed, "run")
    before = everything()
    pipeline.run(changed, "run", fork_to="new", until="zero")
    pipeline.run(changed, "run", fork_to="new")  # the same command goes on
    assert everything() == before
    pipeline.run(changed, "afresh")
    assert contents(Path("new/stages/more")) == contents(Path("afresh/stages/more"))
    assert contents(Path("new/stages/more")) != contents(Path("run/stages/more"))
    lineage, models = files.read_json(Path("new/lineage.json")), "stages/zero/model/config.json"
    assert lineage["forked_from"] == str(Path("run").resolve())
    assert lineage["stages"]["zero"] == files.read_json(Path("run/lineage.json"))["stages"]["zero"]
    assert Path("new", models).samefile(Path("run", models)) and not Path("new/stages/zero/checkpoints").exists()


def test_a_fork_needs_a_run_to_fork_from(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="zero")
    for old, new in (("none", "new"), ("run", "run")):
        with pytest.raises(UserError, match="is not another run"):
            pipeline.run(recipe, old, fork_to=new)


def test_other_software_or_another_machine_is_said_and_noted(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    pipeline.run(recipe, "run", until="zero")
    pipeline.run(recipe, "run", until="zero")
    assert "warning" not in capsys.readouterr().err
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = files.read_json(Path("run/lineage.json"))
    torch = before["versions"]["torch"]
    files.write_json(Path("run/lineage.json"), before | {"versions": before["versions"] | {"torch": "1.0"}})
    pipeline.run(recipe, "run", until="more")
    said = capsys.readouterr().err
    assert f"versions.torch: 1.0 then, {torch} now; threads: 2 then, 3 now" in said
    lineage = files.read_json(Path("run/lineage.json"))
    assert lineage["changes"][0]["changed"] == {"versions.torch": ["1.0", torch], "threads": [2, 3]}
    assert lineage["threads"] == 3 and lineage["versions"]["torch"] == torch


def test_a_directory_with_other_things_is_left_alone(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="something other than a run"):
        pipeline.run(recipe, "base")
    assert os.listdir("base") == ["config.json"]


def test_until_must_name_a_stage(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="until zer: no such stage; stages: zero, more, eval"):
        pipeline.run(recipe, "run", until="zer")
    assert not Path("run").exists()


def test_identities_follow_what_decides_a_stage_and_nothing_else(recipe: Recipe) -> None:
    def identities(*overrides: str, dtype: str = "float32") -> list[str]:
        return [step.identity for step in pipeline.plan_steps(load_recipe("tiny.toml", overrides), dtype)]

    base = identities()
    assert identities("max_concurrent=3", "name=other") == base
    assert identities("stage.more.steps=9")[0] == base[0]
    for different in (identities("stage.zero.steps=9"), identities("seed=1"), identities(dtype="bfloat16")):
        assert not set(different) & set(base)  # and all that stands on it
    assert identities(f"stage.zero.seed={hashing.derive_seed(0, 'zero')}") == base


def test_the_resolved_recipe_reads_back(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "resolved.toml").write_text(dump_toml(recipe))
    assert load_recipe("resolved.toml") == recipe


def test_json_output_is_the_last_line_of_stdout(recipe: Recipe) -> None:
    out, errors = (process := command("run", "--json")).communicate(timeout=300)
    assert process.returncode == 0, errors
    found = json.loads(out.splitlines()[-1])
    assert found["run"] == "run" and list(found["evals"]) == ["eval"] and len(out.splitlines()) == 1


# -- doing stages again, looking ahead, looking back --------------------------------------------------------------


def actions(recipe: Recipe, **options: str) -> list[str]:
    return [stage.action for stage in preview.preview(recipe, Path("run"), **options)]


def test_from_does_a_stage_and_what_stands_on_it_again_and_keeps_the_rest(
    recipe: Recipe, capsys: pytest.CaptureFixture
) -> None:
    pipeline.run(recipe, "run")
    before, zero = contents(Path("run")), Path("run/stages/zero/artifact.json").stat().st_mtime_ns
    first = files.read_json(Path("run/stages/more/artifact.json"))
    changed = load_recipe("tiny.toml", ["stage.more.steps=5"])
    assert actions(changed, redo_from="more") == ["reuse", "redo", "redo"] and contents(Path("run")) == before
    broken = load_recipe("tiny.toml", ["stage.more.steps=5", "stage.more.template=chat", "stage.more.save_every=2"])
    capsys.readouterr()
    with pytest.raises(RuntimeError, match="under way"):
        pipeline.run(broken, "run", redo_from="more")
    assert "done again: more, eval. What they had made stays in run/replaced" in capsys.readouterr().err
    kept = contents(Path("run/replaced"))
    old = {name.removeprefix("stages/"): data for name, data in before.items()}
    assert kept == {name: old[name] for name in old if name.startswith(("more/", "eval/"))} != {}
    assert actions(broken, redo_from="more") == ["reuse", "resume", "run"], "the same command goes on"
    assert actions(changed, redo_from="more") == ["reuse", "redo", "run"], "another recipe begins anew"
    pipeline.run(changed, "run", redo_from="more", until="more")
    assert contents(Path("run/replaced")) == kept
    pipeline.run(changed, "run", redo_from="more")
    assert not Path("run/replaced").exists() and Path("run/stages/zero/artifact.json").stat().st_mtime_ns == zero
    pipeline.run(changed, "afresh")
    assert contents(Path("run/stages")) == contents(Path("afresh/stages")) != before
    again = files.read_json(Path("run/stages/more/artifact.json"))
    assert again["started"] >= first["finished"] and again["seconds"] < 60
    assert actions(changed) == ["reuse"] * 3 and actions(changed, redo_from="zero") == ["redo"] * 3


def test_from_refuses_what_it_cannot_do(recipe: Recipe) -> None:
    with pytest.raises(UserError, match="from mor: no such stage; stages: zero, more, eval"):
        pipeline.run(recipe, "run", redo_from="mor")
    with pytest.raises(UserError, match="give one of them"):
        pipeline.run(recipe, "run", redo_from="more", fork_to="new")
    pipeline.run(recipe, "kept", until="zero")
    with pytest.raises(UserError, match="stage.zero.steps: 12 then, 13 now"):
        pipeline.run(load_recipe("tiny.toml", ["stage.zero.steps=13"]), "kept", redo_from="more")


def test_a_forecast_goes_by_the_stages_of_a_kind() -> None:
    def stage(name: str, kind: str, parameters: int, **counts: int) -> StagePlan:
        return StagePlan(name, kind, (), counts, parameters, {})

    rl = [stage(name, "rl", 10, completions=n, steps=7) for name, n in (("a", 100), ("b", 200), ("c", 400))]
    planned = Plan("p", 0, (*rl, stage("d", "sft", 10, epochs=2)))
    assert forecast(planned, {"a": 1.0, "b": 5.0}) == {"c": pytest.approx(8.0), "d": None}
    assert forecast(planned, {}) == dict.fromkeys("abcd")


def test_lineage_leads_back_to_the_roots(recipe: Recipe) -> None:
    pipeline.run(recipe, "run", until="more")
    found = ancestry.trace(Path("run"), "more")
    assert [stage["name"] for stage in found["stages"]] == ["zero", "more"]
    zero, more = found["stages"]
    assert more["reads"]["model"] == ["zero"] and more["parents"]["zero"] == zero["identity"]
    roots = {root["name"]: root for root in found["roots"]}
    assert set(roots) == {"base", "problems.jsonl", "world:arithmetic"}
    assert roots["problems.jsonl"]["identity"] == hashing.fingerprint(Path("problems.jsonl"))
    assert found["code"]["r1kit"] == r1kit.__version__ and found["seed"] == 0 and json.dumps(found)
    text = ancestry.render(ancestry.trace(Path("run")))
    assert "eval (evaluate), not started" in text and f"({zero['identity'][:12]})" in text
    assert "world:arithmetic  generated by r1kit" in text
    with pytest.raises(UserError, match="did you mean zero"):
        ancestry.trace(Path("run"), "zeroo")
    with pytest.raises(UserError, match="is not a run directory"):
        ancestry.trace(Path("base"))


def test_a_resolved_recipe_finds_the_rewards_beside_the_one_it_was(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/beside_this_recipe.py").write_text("def brevity(problem, text):\n    return 1.0\n")
    rewards = 'rewards = { accuracy = 1.0, "beside_this_recipe:brevity" = 0.1 }\n'
    (tmp_path / "far/own.toml").write_text(RECIPE.replace("steps = 12\n", "steps = 12\n" + rewards))
    pipeline.run(load_recipe("far/own.toml"), "run", until="zero")
    again = load_recipe("run/recipe.toml")
    assert again.folder == tmp_path / "far"
    pipeline.run(again, "run")

"""A finished run of sprout-base with an evaluation before and after, without training: the model is the base."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from run_factory import rl_row, write_evaluation, write_json, write_lines

from r1kit import files, hashing
from r1kit.model.reference import ASSETS
from r1kit.recipe import dump_toml, load_recipe
from r1kit.run_dir import RunDir

RECIPE = """
name = "small"
device = "cpu"
[stage.before]
kind = "evaluate"
model = "sprout-base"
benchmarks = { held-out = [{ source = "world:arithmetic", split = "held_out" }] }
[stage.zero]
kind = "rl"
model = "sprout-base"
prompts = ["world:arithmetic"]
steps = 20
rewards = { accuracy = 1.0, format = 0.5 }
[stage.after]
kind = "evaluate"
model = "zero"
benchmarks = { held-out = [{ source = "world:arithmetic", split = "held_out" }] }
[stage.more]
kind = "sft"
model = "zero"
data = ["records.jsonl"]
"""
ENVIRONMENT = {
    "r1kit": "0.1.0", "source": "abc", "commit": None, "python": "3.11", "versions": {"torch": "2.13.0"},
    "platform": "Linux", "cpu": "a CPU", "threads": 2, "processes": 1, "device": "cpu", "dtype": "float32",
}  # fmt: skip


def finished_run(path: Path, **changes: object) -> RunDir:
    """Write the run; `changes` are to the stage zero, as overrides of the recipe."""
    path.mkdir(parents=True)
    source = path.with_name("small.toml")
    source.write_text(RECIPE)
    recipe = load_recipe(str(source), [f"stage.zero.{key}={value}" for key, value in changes.items()])
    run = RunDir(path)
    run.recipe.write_text(dump_toml(recipe))
    rng = random.Random(0)
    shutil.copytree(ASSETS / "sprout-base", run.stage("zero").model, ignore=shutil.ignore_patterns("README.md"))
    write_lines(run.stage("zero").metrics, [rl_row(step, rng) for step in range(1, 21)])
    for name, model, skill in (("before", "sprout-base", 0.1), ("after", "zero", 0.8)):
        write_evaluation(run.stage(name).data, model, skill, rng, "")
    records = {}
    for name in ("before", "zero", "after"):
        folder = run.stage(name).path / recipe.stage[name].output_folder
        record = {"kind": recipe.stage[name].kind, "identity": f"identity of {name}", "seed": 1, "seconds": 61.0}
        records[name] = {
            **record,
            "dtype": "float32",
            "parents": {},
            "config": recipe.stage[name].model_dump(mode="json"),
        }
        outputs = {f"{folder.name}/{file}": sha for file, sha in hashing.manifest(folder).items()}
        artifact = {"name": name, **records[name], "summary": {"steps": 20, "tokens": 5000}, "outputs": outputs}
        write_json(run.stage(name).artifact, artifact)
    files.write_json(run.lineage, {"recipe": "small", "seed": 0, "changes": [], **ENVIRONMENT, "stages": records})
    return run

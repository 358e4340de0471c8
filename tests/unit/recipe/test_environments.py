"""An environment with tools is refused before anything runs where the model cannot be told of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import r1kit
from r1kit.errors import UserError
from r1kit.model.reference import ASSETS
from r1kit.recipe import load_recipe
from r1kit.run import pipeline
from r1kit.run.preflight import preflight

HERMES = (Path(r1kit.__file__).parent / "data" / "chat_templates" / "hermes.jinja").read_text()
RECIPE = """
name = "tools"
device = "cpu"
[stage.first]
kind = "rl"
model = "sprout-base"
prompts = ["world:arithmetic"]
steps = 1
max_completion_length = 64
[stage.acts]
kind = "rl"
model = "first"
template = "chat"
environment = "tools"
prompts = ["world:arithmetic"]
steps = 1
max_completion_length = 64
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tools.toml").write_text(RECIPE)
    shutil.copytree(ASSETS / "sprout-base", "able")
    config = json.loads(Path("able/tokenizer_config.json").read_text())
    Path("able/tokenizer_config.json").write_text(json.dumps({**config, "chat_template": HERMES}))
    return tmp_path


def test_check_and_run_refuse_alike(folder: Path) -> None:
    recipe = load_recipe("tools.toml")
    (reason,) = preflight(recipe)[1]
    assert reason.startswith('stage.acts.environment = "tools": the chat template of this model shows no tools')
    with pytest.raises(UserError) as refused:
        pipeline.run(recipe)
    assert str(refused.value) == reason and not (folder / "runs/tools/stages").exists()


def test_the_chat_template_is_that_of_the_last_stage_that_set_one(folder: Path) -> None:
    """`template = "r1-zero"`, the default, replaces the chat template of the model that a stage publishes."""
    able = ["stage.first.model=able"]
    assert len(preflight(load_recipe("tools.toml", able))[1]) == 1
    assert preflight(load_recipe("tools.toml", [*able, "stage.first.template=chat"]))[1] == []
    assert preflight(load_recipe("tools.toml", [*able, "stage.acts.model=able"]))[1] == []
    assert preflight(load_recipe("tools.toml"), ["first"])[1] == [], "of the stages that are to run"

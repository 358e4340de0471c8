"""Publishing writes a complete repository to a directory or to a hub, and replaces nothing silently."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub, hub_server
from huggingface_hub import ModelCard
from published_run import finished_run

from r1kit.errors import UserError
from r1kit.run.outputs import publish
from r1kit.run_dir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return finished_run(tmp_path / "run")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as served:
        yield served


def command(run: RunDir, hub: Hub, *args: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run `r1kit publish RUN zero ...` against a hub on this machine."""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HOME": str(run.path.with_name("hf"))}
    arguments = [sys.executable, "-m", "r1kit", "publish", str(run.path), "zero", *args]
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300)


def test_a_directory_gets_the_checkpoint_card_recipe_and_results(run: RunDir, tmp_path: Path) -> None:
    target = publish.publish_to_directory(run.path, "zero", "someone/small", tmp_path / "out")
    made = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    model = {path.name for path in run.stage("zero").model.iterdir()}
    assert made == model | {"README.md", "recipe.toml", "evals/before.json", "evals/after.json"}
    assert ModelCard.load(target / "README.md").data.license == "mit"
    (target / "config.json").write_text("changed")
    assert run.stage("zero").model.joinpath("config.json").read_text() != "changed"


@pytest.mark.parametrize(
    ("stage", "repository", "message"),
    [
        ("none", "a/b", "no such stage in .*; stages: before, zero, after, more"),
        ("after", "a/b", r"a stage of kind evaluate makes no model .*: \['zero', 'more'\]"),
        ("more", "a/b", "not finished"),
        ("zero", "name", "must be ORG/NAME"),
        ("zero", "a/b/c", "no name of a repository"),
    ],
)
def test_what_cannot_be_published_is_refused(
    run: RunDir, tmp_path: Path, stage: str, repository: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        publish.publish_to_directory(run.path, stage, repository, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_model_and_a_used_directory_are_refused(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").touch()
    with pytest.raises(UserError, match="exists already"):
        publish.publish_to_directory(run.path, "zero", "a/b", tmp_path / "used")
    (run.stage("zero").model / "config.json").write_text("{}")
    with pytest.raises(UserError, match="damaged or edited"):
        publish.publish_to_directory(run.path, "zero", "a/b", tmp_path / "out")


@pytest.mark.slow
def test_a_new_repository_is_created_and_an_existing_one_is_updated_only_if_asked(run: RunDir, hub: Hub) -> None:
    done = command(run, hub, "someone/small", "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.url}/someone/small" and hub.private == {"someone/small": True}
    files = hub.repositories["someone/small"]
    weights = "model.safetensors"
    assert files[weights] == (run.stage("zero").model / weights).read_bytes()
    assert b"model-index" in files["README.md"] and "evals/after.json" in files
    files.update({"README.md": b"edited", "notes.txt": b"kept"})
    refused = command(run, hub, "someone/small")
    assert refused.returncode == 2 and "exists and has" in refused.stderr and "--update" in refused.stderr
    assert files["README.md"] == b"edited"
    assert command(run, hub, "someone/small", "--update").returncode == 0
    assert b"model-index" in files["README.md"] and files["notes.txt"] == b"kept"
    hub.private["someone/small"] = False
    public = command(run, hub, "someone/small", "--update", "--private")
    assert public.returncode == 2 and "exists and is public" in public.stderr
    assert not list(run.path.glob(".publish-*"))


@pytest.mark.slow
def test_no_token_or_a_wrong_one_is_found_before_anything(run: RunDir, hub: Hub) -> None:
    missing, wrong = command(run, hub, "a/b", token=""), command(run, hub, "a/b", token="hf_wrong")
    assert missing.returncode == 2 and "hf auth login" in missing.stderr
    assert wrong.returncode == 2 and "Invalid user token" in wrong.stderr and "Traceback" not in wrong.stderr
    assert hub.repositories == {}


@pytest.mark.slow
def test_an_unreachable_hub_is_one_message(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command(run, Hub(url="http://127.0.0.1:9"), "a/b")
    assert done.returncode == 2 and "cannot be reached" in done.stderr and "Traceback" not in done.stderr
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = command(run, Hub(url="http://127.0.0.1:9"), "a/b")
    assert done.returncode == 2 and "offline mode" in done.stderr

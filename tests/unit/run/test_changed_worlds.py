"""The code of a world is part of the identity of the stages that read it, as the content of a file is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from r1kit.config import Recipe
from r1kit.data.worlds import RECORD_WORLDS, WORLDS, identity
from r1kit.data.worlds.corpus import CORPORA
from r1kit.errors import UserError
from r1kit.recipe import load_recipe
from r1kit.run import pipeline, preview
from r1kit.run.resolve import resolve_stages

SOURCES = [*(f"world:{name}" for name in {*WORLDS, *RECORD_WORLDS}), *(f"corpus:{name}" for name in CORPORA)]
Edit = Callable[[str], None]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Edits a module of a copy of the package."""
    root = tmp_path / "code"
    shutil.copytree(identity.ROOT / "r1kit/data", root / "r1kit/data", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(identity, "ROOT", root)
    monkeypatch.setattr(identity, "code_sha256", identity.code_sha256.__wrapped__)

    def edit(module: str) -> None:
        with open(root / "r1kit/data/worlds" / f"{module}.py", "a") as file:
            file.write("CHANGED = True\n")

    return edit


def identities() -> dict[str, str | None]:
    return {source: identity.generated_identity(source) for source in SOURCES}


def changed(before: dict[str, str | None]) -> set[str]:
    return {source for source, now in identities().items() if now != before[source]}


def test_a_changed_module_changes_the_worlds_that_import_it(edit: Edit) -> None:
    corpora, before = {f"corpus:{name}" for name in CORPORA}, identities()
    assert None not in before.values()
    edit("countdown")
    assert changed(before) == {"world:countdown", *corpora}
    edit("topics")
    assert changed(before) == {"world:countdown", "world:instructions", *corpora}
    edit("general/facts")
    general = {"world:talk", "world:writing", "world:safety"}
    assert changed(before) == {"world:countdown", "world:instructions", *general, *corpora}
    edit("arithmetic")
    assert set(SOURCES) - changed(before) == {"world:logic", "world:guess", "world:repositories"}
    edit("task")
    assert set(SOURCES) - changed(before) == {"world:repositories"}


def test_assets_of_repositories_are_part_of_their_world(
    tmp_path: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(identity.repositories.FOLDER, folder := tmp_path / "repositories")
    monkeypatch.setattr(identity.repositories, "FOLDER", folder)
    before = identities()
    with open(folder / "rooms.md", "a") as file:
        file.write("\n")
    assert changed(before) == {"world:repositories"}


def test_other_sources_are_not_generated() -> None:
    for source in ("bench:math500", "problems.jsonl", "org/name", "reasoning_gym:chain_sum", "world:unknown"):
        assert identity.generated_identity(source) is None


def test_resume_names_a_changed_world_and_fork_runs_its_stages_again(
    recipe: Recipe, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe("tiny.toml", ['stage.eval.benchmarks={file = ["problems.jsonl"]}'])
    pipeline.run(recipe, "run")  # only the stage more reads world:arithmetic; eval depends on it
    edit("countdown")
    assert [stage.action for stage in preview.preview(recipe, Path("run"))] == ["reuse"] * 3
    edit("arithmetic")
    with pytest.raises(UserError, match=r"(?s)has changed since.*\n  world:arithmetic has changed\nAdd --amend"):
        pipeline.run(recipe, "run")
    capsys.readouterr()
    pipeline.run(recipe, "run", fork_to="new")
    printed = capsys.readouterr().err
    assert [name for name in recipe.stage if f"{name}: reused from run" in printed] == ["zero"]
    assert all(f"{name}: done in" in printed for name in ("more", "eval"))


def test_records_pretraining_and_held_out_problems_depend_on_their_worlds(recipe: Recipe, edit: Edit) -> None:
    stages = """
        [stage.base]
        kind = "pretrain"
        model = "sprout-base"
        steps = 1
        sequences_per_step = 1
        [stage.records]
        kind = "sft"
        model = "base"
        data = ["world:guess"]
        [stage.bench]
        kind = "evaluate"
        model = "base"
        benchmarks = { sprout = ["bench:sprout"] }
        [stage.plain]
        kind = "rl"
        model = "base"
        prompts = ["problems.jsonl"]
        steps = 1
        """
    Path("worlds.toml").write_text(f'name = "worlds"\ndevice = "cpu"\n{stages}')

    def parents() -> dict[str, Mapping[str, str]]:
        return {stage.name: stage.parents for stage in resolve_stages(load_recipe("worlds.toml"), "float32")}

    before = parents()
    edit("task")
    changed = {
        name: {source for source, sha in new.items() if before[name][source] != sha} - {"base"}
        for name, new in parents().items()
    }
    first = {"base": {"corpus:sprout-textbook"}, "records": {"world:guess"}, "bench": {"bench:sprout"}}
    assert changed == {**first, "plain": {"bench:sprout"}}  # held out from its prompts

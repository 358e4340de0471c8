"""The code of a world is part of the identity of the stages that read it, as the content of a file is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
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
    """Edits a module of a copy of the package, whose code is the first."""
    root = tmp_path / "code"
    shutil.copytree(identity.ROOT / "r1kit/data", root / "r1kit/data", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(identity, "ROOT", root)
    monkeypatch.setattr(identity, "code_sha256", identity.code_sha256.__wrapped__)
    monkeypatch.setattr(identity, "FIRST", {part: identity.code_sha256(part) for part in identity.FIRST})

    def edit(module: str) -> None:
        with open(root / "r1kit/data/worlds" / f"{module}.py", "a") as file:
            file.write("CHANGED = True\n")

    return edit


def changed() -> set[str]:
    return {source for source in SOURCES if identity.generated_identity(source)}


def test_a_changed_module_changes_the_worlds_that_import_it(edit: Edit) -> None:
    corpora = {f"corpus:{name}" for name in CORPORA}
    assert changed() == set()
    edit("countdown")
    assert changed() == {"world:countdown", *corpora}
    edit("topics")
    assert changed() == {"world:countdown", "world:instructions", *corpora}
    edit("general/facts")
    general = {"world:talk", "world:writing", "world:safety"}
    assert changed() == {"world:countdown", "world:instructions", *general, *corpora}
    edit("arithmetic")
    assert set(SOURCES) - changed() == {"world:logic", "world:guess", "world:repositories"}
    edit("task")
    assert set(SOURCES) - changed() == {"world:repositories"}


def test_assets_of_repositories_are_part_of_their_world(
    tmp_path: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(identity.repositories.FOLDER, folder := tmp_path / "repositories")
    monkeypatch.setattr(identity.repositories, "FOLDER", folder)
    assert changed() == set()
    with open(folder / "rooms.md", "a") as file:
        file.write("\n")
    assert changed() == {"world:repositories"}


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

    def generated() -> dict[str, list[str]]:
        resolved = resolve_stages(load_recipe("worlds.toml"), "float32")
        prefixes = identity.GENERATED
        return {
            s.name: [k for k, v in s.parents.items() if k.startswith(prefixes) and v[:4] != "hub:"] for s in resolved
        }

    assert not any(generated().values())
    edit("task")
    first = {"base": ["corpus:sprout-textbook"], "records": ["world:guess"], "bench": ["bench:sprout"]}
    first["plain"] = ["bench:sprout"]  # held out from its prompts
    assert {name: parents for name, parents in generated().items() if parents} == first

"""Every kind of stage declares its facts on its config class."""

from __future__ import annotations

import importlib
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import r1kit
from r1kit.config import RL, STAGE_KINDS, Curate, MemoryUse, Preference, StageConfig
from r1kit.config.stage import Output

NEW_KIND = """
from typing import ClassVar, Literal
from r1kit.config.stage import Output, StageConfig

class Merge(StageConfig):
    module: ClassVar[str] = "r1kit.stages.merge"
    output: ClassVar[Output] = "model"
    kind: Literal["merge"]
    model: str
"""


def test_all_kinds_are_known() -> None:
    assert sorted(STAGE_KINDS) == ["curate", "evaluate", "preference", "pretrain", "rl", "sft"]


@pytest.mark.parametrize("stage", STAGE_KINDS.values(), ids=STAGE_KINDS)
def test_declared_module_runs_the_stage(stage: type[StageConfig]) -> None:
    assert callable(importlib.import_module(stage.module).run)
    assert stage.output in typing.get_args(Output)


def test_new_file_in_the_package_is_a_new_kind(tmp_path: Path) -> None:
    package = Path(r1kit.__file__).parent
    (tmp_path / "r1kit").mkdir()
    for path in package.iterdir():
        if path.name != "config":
            (tmp_path / "r1kit" / path.name).symlink_to(path)
    (tmp_path / "r1kit" / "config").mkdir()
    for path in (package / "config").glob("*.py"):
        (tmp_path / "r1kit" / "config" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "r1kit" / "config" / "merge.py").write_text(NEW_KIND)
    code = "from r1kit.config import Recipe; from r1kit.plan import make_plan, render\n"
    code += "recipe = Recipe(name='r', stage={'m': {'kind': 'merge', 'model': 'a'}})\n"
    code += "print(recipe.stage['m'].module, render(make_plan(recipe)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("r1kit.stages.merge") and "1. m (merge)" in result.stdout


def test_rl_reads_reward_models_of_the_recipe() -> None:
    general = [{"prompts": ["world:talk"], "rewards": {"helpful": 1.0, "format": 1.0}}]
    stage = RL(kind="rl", model="m", prompts=["world:logic"], general=general)
    assert stage.models_read(["helpful"]) == ["m", "helpful"] and stage.models_read([]) == ["m"]
    assert [at for at, _ in stage.sources()] == [("prompts", 0), ("general", 0, "prompts", 0)]
    assert [at for at, _ in stage.reward_tables()] == [("rewards",), ("general", 0, "rewards")]
    assert stage.reward_names == ["accuracy", "format", "helpful"]


def test_sources_of_benchmarks_name_the_benchmark() -> None:
    stage = Curate(kind="curate", model="m", prompts=["world:logic"], benchmarks={"x": ["a.jsonl"]}, data=["b.jsonl"])
    assert [at for at, _ in stage.sources()] == [("prompts", 0), ("benchmarks", "x", 0)]
    assert stage.data_read() == ["b.jsonl"] and stage.inputs() == ["m", "world:logic", "b.jsonl", "x: a.jsonl"]


def test_rows_of_pairs_hold_both_responses() -> None:
    stage = Preference(kind="preference", model="m", data=["a.jsonl"])
    assert stage.memory_use() == MemoryUse(
        trained_tokens=2 * 8192, step_tokens=2 * 8192 * 256, text_tokens=8192, saves=True, has_logits=False
    )
    assert stage.model_copy(update={"objective": "pointwise"}).memory_use().trained_tokens == 8192

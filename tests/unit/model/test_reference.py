"""Model references: bundled names, directories, stages of runs and hub ids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit.errors import UserError
from r1kit.model.reference import local_model, missing_files, resolve_model


def test_directories_and_stages_resolve_to_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "runs" / "x" / "stages" / "zero" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    for reference in (str(model), "runs/x/stages/zero", "runs/x/stages/zero/model"):
        assert resolve_model(reference).resolve() == model
    with pytest.raises(UserError, match=r"did you mean runs/x/stages/zero\?"):
        resolve_model("runs/x")


def test_unknown_names_are_refused_and_hub_ids_are_not_local() -> None:
    with pytest.raises(UserError, match="no such model or directory"):
        resolve_model("qwen")
    assert local_model("Qwen/Qwen2.5-1.5B") is None


def test_hub_model_offline_names_the_download_command(tmp_path: Path) -> None:
    code = "from r1kit.model.reference import resolve_model; resolve_model('org/none')"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "UserError: org/none" in done.stderr and "hf download org/none" in done.stderr


def test_stage_of_a_run_is_named_run_and_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for stage in ("zero", "unfinished"):
        (tmp_path / "runs" / "x" / "stages" / stage).mkdir(parents=True)
    model = tmp_path / "runs" / "x" / "stages" / "zero" / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert resolve_model("runs/x/zero").resolve() == model
    monkeypatch.chdir(tmp_path / "runs")
    assert resolve_model("x/zero").resolve() == model, "a run comes before a hub id of the same form"
    with pytest.raises(UserError, match="x/stages/unfinished has made no model, or is not finished"):
        local_model("x/unfinished")


def test_adapter_is_refused_with_the_command_that_merges_it(tmp_path: Path) -> None:
    adapter = tmp_path / "lora"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen2.5-1.5B"}))
    with pytest.raises(UserError, match=r"an adapter of Qwen/Qwen2.5-1.5B, not a complete model") as caught:
        resolve_model(str(adapter))
    command = str(caught.value).splitlines()[-1]
    code = command.split('-c "')[1].removesuffix('"')
    compile(code, "command", "exec")
    assert "merge_and_unload" in code and str(adapter) in code and "lora-merged" in code


def test_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="a file: give a GGUF file, or the directory"):
        local_model(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize(
    ("names", "lacking"),
    [
        (["config.json", "tokenizer.json", "model.safetensors"], None),
        (["config.json", "model.safetensors"], "tokenizer.json or tokenizer.model or vocab.json"),
        (["config.json", "tokenizer.model"], "model.safetensors"),
        (["config.json", "vocab.json", "a.safetensors"], "b.safetensors"),
    ],
)
def test_missing_files_are_named(tmp_path: Path, names: list[str], lacking: str | None) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    if "a.safetensors" in names:
        index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert missing_files(tmp_path) == lacking

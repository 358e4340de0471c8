"""Model references: bundled names, directories, stages of runs and hub ids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r1kit.errors import UserError
from r1kit.model.reference import local_model, resolve_model


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

"""The check of a GPU runs in all its parts on a CPU, and says so where there is no GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from paths import ROOT

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "scripts/gpu_check.py"


def check(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *args], capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_nothing_is_measured_without_a_gpu() -> None:
    done = check()
    assert (done.returncode, done.stdout) == (2, "not measured: no GPU\n")


def test_every_part_runs_on_a_cpu_with_tiny_shapes(tmp_path: Path) -> None:
    done = check("--device", "cpu", "--tiny", "--out", str(tmp_path / "r.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "r.json").read_text())
    assert json.loads(done.stdout) == result and result["failed"] == []
    agreement, tiny = result["agreement"], result["tiny"]
    assert agreement["float32_logits_max"] == agreement["float32_gradient"] == 0  # the CPU against itself
    assert 0 < agreement["bfloat16_gradient"] < 0.1 and 0 < agreement["bfloat16_logprob_mean"] < 0.01
    assert tiny["decode"]["tokens_per_second"] > 0 and 0 < tiny["decode"]["of_the_bandwidth_floor"] < 1
    assert 0 < tiny["sft"]["mfu"] < 1 and 0 < tiny["grpo"]["update_mfu"] < 1
    assert tiny["grpo"]["tokens"] == 2 * 4 * 16 + 2 * 16
    assert tiny["grpo"]["memory"]["update"]["planned"] > 0


def test_failed_and_late_parts_are_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import gpu_check

    check = gpu_check.Check(torch.device("cpu"), gpu_check.TINY)
    assert check.part("wrong", lambda: 1 / 0) == {"error": "ZeroDivisionError: division by zero"}
    assert check.failed == ["wrong"]
    check.start -= gpu_check.LATEST_START
    assert check.part("late", lambda: 1) == "not measured: out of time"

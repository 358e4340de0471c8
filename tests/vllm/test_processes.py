"""Two processes that torchrun starts: each has its own vLLM, or both share a server that the first pushes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from vllm_process import VllmProcess

SCRIPT = Path(__file__).parents[1] / "support" / "vllm_rank.py"


@pytest.mark.parametrize("kind", ["in process", "server"])
def test_processes_sample_with_the_weights_of_the_step(server: VllmProcess, tmp_path: Path, kind: str):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    command += [str(tmp_path), *([server.url] if kind == "server" else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        found = json.loads((tmp_path / f"rank_{rank}.json").read_text())
        assert len(found) == 3
        for each in found:
            assert each["equal"] >= 0.99 and each["mean"] <= 1e-4

"""Two processes that torchrun starts: each has its own vLLM, or both share a server that the first pushes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from vllm_process import VllmProcess

SCRIPT = Path(__file__).parents[1] / "support" / "vllm_rank.py"


def run_two(folder: Path, *urls: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, str(folder), *urls], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    for rank in range(2):
        found = json.loads((folder / f"rank_{rank}.json").read_text())
        assert len(found) == 3
        assert all(each["equal"] >= 0.99 and each["mean"] <= 1e-4 for each in found)


def test_each_process_has_a_vllm_of_its_own(tmp_path: Path):
    """Also where the first process alone has used one before: the processes still meet in their own group."""
    run_two(tmp_path)


def test_processes_share_a_server_that_the_first_pushes_to(server: VllmProcess, tmp_path: Path):
    run_two(tmp_path, server.url)

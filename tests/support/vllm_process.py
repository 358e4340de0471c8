"""A vLLM server in a process of its own, with the options that docs/vllm.md recommends, and small numbers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

MODEL = Path(__file__).parents[2] / "src" / "r1kit" / "assets" / "sprout-base"
TRANSFER, OVERRIDES = '{"backend": "r1kit"}', '{"tie_word_embeddings": false}'
OPTIONS = [
    *("--load-format", "dummy", "--enable-scale-out"),
    *("--weight-transfer-config", TRANSFER, "--hf-overrides", OVERRIDES),
    *("--logprobs-mode", "processed_logprobs", "--generation-config", "vllm", "--dtype", "float32"),
    *("--max-model-len", "512", "--max-num-seqs", "64", "--served-model-name", "policy"),
    # On a CPU. Seeded sampling fails there with prompts that are split.
    *("--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", "8192"),
]
START_SECONDS = 600  # on a machine that does other work too; 15 on an idle one


class VllmProcess:
    """A server in a process of its own."""

    def __init__(self, port: int, log: Path) -> None:
        self.port, self.log = port, log
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        settings |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(MODEL), "--port", str(self.port), "--host", "127.0.0.1", *OPTIONS]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **settings}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None and self.process.poll() is None, self.log.read_text()[-4000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=5).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
        pytest.fail(f"no server after {START_SECONDS} seconds:\n{self.log.read_text()[-4000:]}")

    @property
    def group(self) -> int:
        """The process group of the server and its workers."""
        assert self.process is not None
        return self.process.pid

    def served(self) -> int:
        """Return how many samples and probes the server has answered since it was made."""
        return self.log.read_text().count("POST /inference/v1/generate")

    def kill(self) -> None:
        """End the server and its workers at once, as a lost machine would."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()

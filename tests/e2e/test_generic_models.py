"""DeepSeek-V3 and Gemma run SFT, RL and an evaluation, are resumed exactly, and are read by transformers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_families import write_family
from transformers import AutoModelForCausalLM

import r1kit
from r1kit.model.hf import load_model
from r1kit.recipe import load_recipe
from r1kit.run.pipeline import run
from r1kit.stages import rl

pytestmark = pytest.mark.long
FAMILIES = ("deepseek_v3", "gemma3")
RECIPE = """
name = "generic"
device = "cpu"
dtype = "float32"
reward_workers = 1

[stage.cold]
kind = "sft"
model = "base"
data = ["records.jsonl"]
epochs = 1
context_length = 256
sequences_per_step = 6
learning_rate = 1e-3
held_out = 2

[stage.zero]
kind = "rl"
model = "cold"
prompts = ["world:arithmetic"]
rewards = { "own:length" = 1.0 }
steps = 5
prompts_per_step = 2
num_generations = 3
steps_per_rollout = 2
ref_refresh_steps = 2
learning_rate = 1e-3
max_completion_length = 12
save_every = 1
recompute = "on"
watchdogs = { constant_reward = "off", always_cut_off = "off", never_ends = "off" }

[stage.after]
kind = "evaluate"
model = "zero"
samples = 2
max_completion_length = 12
benchmarks.sums = [{ source = "world:arithmetic", split = "held_out", limit = 2 }]
"""
REWARD = """
import os, time

def length(problem, text):
    time.sleep(float(os.environ.get("SECONDS_A_REWARD", "0")))
    return float(len(text) % 7)
"""


@pytest.fixture(params=FAMILIES)
def recipe(request: pytest.FixtureRequest, tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The directory of a recipe on a random model of the family."""
    write_family(request.param, tokenizer, tmp_path / "base")
    rows = [{"prompt": f"What is {i} + {i}?", "response": f"<think>\n2 * {i}\n</think>\n{2 * i}"} for i in range(20)]
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "own.py").write_text(REWARD)
    (tmp_path / "generic.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield request.param
    torch.set_num_threads(threads)


def stop_in_the_middle(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a process that runs the recipe; or, for the second family, fail in this process, which is faster."""
    if family == FAMILIES[0]:
        paths = os.pathsep.join([str(Path(r1kit.__file__).parents[1]), "."])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SECONDS_A_REWARD": "0.2", "PYTHONPATH": paths}
        command = [sys.executable, "-m", "r1kit", "run", "generic.toml", "--run-dir", "stopped"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not Path("stopped/stages/zero/checkpoints/step_00000003").is_dir():
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
    else:
        save = rl.Trainer.save

        def fail(trainer: rl.Trainer, stopping: bool) -> None:
            save(trainer, stopping)
            if trainer.step == 3:
                raise RuntimeError("in the middle")

        with monkeypatch.context() as patch:
            patch.setattr(rl.Trainer, "save", fail)
            with pytest.raises(RuntimeError, match="in the middle"):
                run(load_recipe("generic.toml"), "stopped")
    assert not Path("stopped/stages/zero/artifact.json").exists()


def test_pipeline_resumes_exactly_and_transformers_reads_the_model(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(load_recipe("generic.toml"), "whole")
    stop_in_the_middle(recipe, monkeypatch)
    resumed = run(load_recipe("generic.toml"), "stopped")
    assert resumed.evals == expected.evals and set(resumed.evals) == {"after"}
    for file in ("cold/metrics.jsonl", "zero/metrics.jsonl", "zero/model/model.safetensors"):
        assert (resumed.dir / "stages" / file).read_bytes() == (expected.dir / "stages" / file).read_bytes(), file
    rows = [json.loads(line) for line in (expected.dir / "stages/zero/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5] and all(row["grad_norm"] > 0 for row in rows)
    assert max(row.get("sampling/logp_difference_max", 0) for row in rows) < 1e-4
    directory = expected.dir / "stages/zero/model"
    theirs, ours = AutoModelForCausalLM.from_pretrained(directory).eval(), load_model(directory, torch.float32, "cpu")
    tokens = torch.arange(3, 43)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ours(tokens)), theirs(tokens).logits, atol=2e-4, rtol=0)
    biases = [
        {name: x for name, x in load_model(Path(path), torch.float32, "cpu").named_buffers() if "e_score" in name}
        for path in ("base", directory)
    ]
    assert len(biases[0]) == (1 if recipe == "deepseek_v3" else 0)
    assert all(torch.equal(x, biases[1][name]) for name, x in biases[0].items()), "the routing bias is left alone"

"""The recipe sprout-zero with few steps, where vLLM generates: in process and by servers, one of them killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file
from vllm_process import MODEL, VllmProcess

STEPS, PROMPTS, SAMPLES = 4, 6, 4
FIVE = '[{source = "world:logic", split = "held_out", limit = 5}]'
SMALL = {
    "stage.zero.steps": STEPS,
    "stage.zero.prompts_per_step": PROMPTS,
    "stage.zero.num_generations": SAMPLES,
    "stage.zero.warmup_steps": 0,  # each update changes what is sampled
    "stage.zero.save_every": 1,
    "stage.zero.log_rollouts_every": 1,
    "stage.zero.eval_every": 2,
    "stage.zero.max_completion_length": 48,
    "stage.zero.benchmarks.sprout": FIVE,
    **{f"stage.{name}.samples": 4 for name in ("base", "zero_eval")},
    **{f"stage.{name}.benchmarks.sprout": FIVE for name in ("base", "zero_eval")},
}
SECONDS = 400


def start(run_dir: Path, engine: str, **others: int) -> subprocess.Popen[str]:
    settings = {"engine": engine, **others, **SMALL}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "r1kit", "run", "sprout-zero", "--run-dir", str(run_dir), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *overrides], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Return what the run wrote to stderr."""
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    return errors


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check(run_dir: Path) -> None:
    """Every step is trained once, on every sample of its own weights, and the evaluations before and after exist."""
    logged = rows(run_dir / "stages/zero/metrics.jsonl")
    assert [row["step"] for row in logged] == [*range(1, STEPS + 1)]
    assert all(row["sampling/logp_difference_mean"] <= 1e-4 and row["sampling/weights_lag"] == 0 for row in logged)
    total, seen = 0, set[str]()
    for row in logged:
        sampled = rows(run_dir / f"stages/zero/rollouts/step_{row['step']:06d}.jsonl")
        problems = {one["prompt_id"] for one in sampled}
        assert len(problems) == PROMPTS and not problems & seen
        assert {(one["prompt_id"], one["sample"]) for one in sampled} == {(p, s) for p in problems for s in range(4)}
        assert len(sampled) == PROMPTS * SAMPLES
        seen |= problems
        total += sum(one["tokens"] for one in sampled)
        assert row["tokens"] == total
    before, after = (load_file(each / "model.safetensors") for each in (MODEL, run_dir / "stages/zero/model"))
    assert max(float((after[name] - before[name]).abs().max()) for name in before) > 1e-5
    for name in ("base", "zero_eval"):
        assert "sprout" in json.loads((run_dir / f"stages/{name}/data/results.json").read_text())["benchmarks"]
    assert not (run_dir / "stages/zero/.pushed-weights").exists()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_training_in_process(tmp_path: Path):
    finish(start(tmp_path / "run", "vllm"))
    check(tmp_path / "run")


def test_training_by_a_server_that_is_killed_within_a_step(second: VllmProcess, tmp_path: Path):
    """The killed server is started again. The run goes on by itself, and trains the same model to the last bit.

    With one completion at a time: batches of other sizes round differently.
    """
    whole, run_dir = tmp_path / "undisturbed", tmp_path / "killed"
    finish(start(whole, f'["{second.url}"]', max_concurrent=1))
    killed = start(run_dir, f'["{second.url}"]', max_concurrent=1)
    wait_until(lambda: len(rows(run_dir / "stages/zero/metrics.jsonl")) >= 2, killed)
    served = second.served()
    wait_until(lambda: second.served() > served + 12, killed)  # 8 probes, and some of the 24 samples of a step
    second.kill()
    second.start()
    assert "its samples are sampled again" in finish(killed)
    for each in (whole, run_dir):
        check(each)
    for file in ("metrics.jsonl", "rollouts/step_000003.jsonl", "model/model.safetensors"):
        assert (run_dir / "stages/zero" / file).read_bytes() == (whole / "stages/zero" / file).read_bytes()


def test_a_killed_run_goes_on_with_the_same_server(server: VllmProcess, tmp_path: Path):
    """The server has weights of the killed run, of the same step. They are pushed again, not trusted."""
    run_dir = tmp_path / "run"
    killed = start(run_dir, f'["{server.url}"]')
    wait_until(lambda: len(rows(run_dir / "stages/zero/metrics.jsonl")) >= 2, killed)
    killed.kill()
    killed.communicate()
    finish(start(run_dir, f'["{server.url}"]'))
    check(run_dir)

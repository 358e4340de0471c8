"""The recipe sprout-zero with few steps: its results, and its model in transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1kit.data.template import render_prompt
from r1kit.data.worlds import world_problems
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import load_engine

STEPS = 6
TEN = '[{source = "world:logic", split = "held_out", limit = 10}]'
pytestmark = pytest.mark.slow
SMALL = {
    "stage.zero.steps": STEPS,
    "stage.zero.prompts_per_step": 6,
    "stage.zero.num_generations": 4,
    "stage.zero.save_every": 1,
    "stage.zero.log_rollouts_every": 2,
    "stage.zero.eval_every": 3,
    "stage.zero.max_completion_length": 48,
    "stage.zero.benchmarks.sprout": '[{source = "world:logic", split = "held_out", limit = 5}]',
    **{f"stage.{name}.samples": 4 for name in ("base", "zero_eval")},
    **{f"stage.{name}.benchmarks.sprout": TEN for name in ("base", "zero_eval")},
}


def command(run_dir: Path) -> list[str]:
    overrides = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "r1kit", "run", "sprout-zero", "--run-dir", str(run_dir), "--json", *overrides]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def rows(run_dir: Path) -> list[dict]:
    path = run_dir / "stages/zero/metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """An uninterrupted run and its JSON line."""
    run_dir = tmp_path_factory.mktemp("sprout") / "run"
    done = subprocess.run(command(run_dir), capture_output=True, text=True, env=environment(), timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return run_dir, json.loads(done.stdout.splitlines()[-1])


def test_run_writes_metrics_rollouts_and_report(finished: tuple[Path, dict]) -> None:
    run_dir, line = finished
    assert set(line) == {"run", "seconds", "evals"} and set(line["evals"]) == {"base", "zero_eval"}
    assert {"pass@1", "ci95", "cons@4", "pass@4", "format_rate", "mean_tokens", "by_level"} <= set(
        line["evals"]["base"]["benchmarks"]["sprout"]
    )
    assert [row["step"] for row in rows(run_dir)] == list(range(1, STEPS + 1))
    assert all(row["sampling/logp_difference_max"] < 1e-3 for row in rows(run_dir))
    assert (run_dir / "report.html").stat().st_size > 10_000
    kept = {path.name for path in (run_dir / "stages/zero/rollouts").iterdir()}
    assert kept == {f"step_{step:06d}.jsonl" for step in (1, 2, 4, 6)}


def test_transformers_generates_the_same_greedy_completions(finished: tuple[Path, dict]) -> None:
    directory = finished[0] / "stages/zero/model"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
    engine, _ = load_engine(directory, "cpu", "float32", max_concurrent=16)
    problems = [p for name in ("arithmetic", "countdown", "logic") for p in world_problems(name, "held_out", limit=5)]
    prompts = [tokenizer.encode(render_prompt(p.question, "r1-zero", tokenizer)) for p in problems]
    requests = [Request(p.id, tuple(ids)) for p, ids in zip(problems, prompts, strict=True)]
    ours = engine.generate(requests, SamplingParams(seed=0, max_tokens=64, temperature=0))
    for ids, completion in zip(prompts, ours, strict=True):
        with torch.inference_mode():
            theirs = model.generate(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, temperature=None,
                top_p=None, max_new_tokens=64,
            )  # fmt: skip
        assert tuple(theirs[0, len(ids) :].tolist()) == completion.token_ids

"""A recipe of tiny stages that take milliseconds, and helpers to run it in this process or in another."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import r1kit

# Like the real stages in everything that concerns the pipeline: it trains step by step, checkpoints, logs, resumes
# from its last checkpoint, and publishes. Its model depends on its seed, its config and the model it reads.
TINY_STAGE = """
import json, os, time
from r1kit import files, hashing
from r1kit.metrics import log

def save(directory, state):
    tmp = directory / ".tmp"
    files.write_json(tmp / "state.json", state)
    files.write_manifest(tmp)
    files.publish(tmp, directory / f"step_{state['step']:08d}")

def run(config, context):
    base = files.read_json(context.models[config.model] / "config.json")["value"]
    if config.kind == "evaluate":
        benchmarks = {name: {"pass@1": base / 2**63} for name in config.benchmarks}
        files.write_json(context.files.results, {"model": config.model, "benchmarks": benchmarks})
        return {}
    metrics = log.MetricsLog(context.files.metrics)
    saved = [path for path in sorted(context.files.checkpoints.glob("step_*")) if not files.find_damage(path)]
    state = files.read_json(saved[-1] / "state.json") if saved else {"step": 0, "value": base, "logged": 0}
    assert state["step"] >= context.since.step
    if metrics.path.exists():
        os.truncate(metrics.path, state["logged"])
    if config.template == "none":
        raise RuntimeError("at the start")
    for step in range(state["step"] + 1, config.steps + 1):
        time.sleep(config.learning_rate)
        value = hashing.derive_seed(context.seed, state["value"], step, config.num_generations)
        metrics.append({"step": step, "value": value})
        state = {"step": step, "value": value, "logged": metrics.path.stat().st_size}
        if step % config.save_every == 0:
            save(context.files.checkpoints, state)
            if config.template == "chat":
                raise RuntimeError("after a checkpoint")
    tmp = context.dir / "model.tmp"
    tmp.mkdir(exist_ok=True)
    (tmp / "config.json").write_text(json.dumps({"value": state["value"]}))
    files.publish(tmp, context.files.model)
    return {"last": state["value"], "judge": context.grading["judge"]}
"""
RECIPE = """
name = "tiny"
device = "cpu"
[stage.zero]
kind = "rl"
model = "base"
prompts = ["problems.jsonl"]
steps = 12
save_every = 2
learning_rate = 0.00001
[stage.more]
kind = "rl"
model = "zero"
prompts = ["world:arithmetic"]
steps = 4
[stage.eval]
kind = "evaluate"
model = "more"
benchmarks = { sums = ["world:arithmetic"] }
"""
COMMAND = """
import sys
from r1kit import cli
from r1kit.commands.runs import report
from r1kit.config import RL, Evaluate
RL.module = Evaluate.module = "tiny_stage"
if "--no-report" in sys.argv:
    report.write = report.show = lambda *_: None
    sys.argv.remove("--no-report")
sys.argv[1:1] = ["run", "tiny.toml", "--run-dir"]
cli.main()
"""
SHAPE = {"model_type": "llama", "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
         "num_attention_heads": 1}  # fmt: skip
FILES = {
    "tiny_stage.py": TINY_STAGE,
    "tiny.toml": RECIPE,
    "command.py": COMMAND,
    "problems.jsonl": '{"question": "1 + 1?", "answer": "2"}\n',
    "base/config.json": json.dumps({**SHAPE, "value": 1}),
    "base/tokenizer.json": "{}",
    "base/model.safetensors": "",
}


def write_tiny_recipe(directory: Path) -> None:
    """Write tiny.toml, its base model, its problems, its stage module and command.py, which runs it."""
    for name, text in FILES.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)


def start_command(run_dir: str, *args: str) -> subprocess.Popen[str]:
    """Start `r1kit run tiny.toml --run-dir RUN_DIR ARGS` in the working directory."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(r1kit.__file__).parents[1]), "."])}
    command = [sys.executable, "command.py", run_dir, *args]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_killed(run_dir: str, *args: str) -> None:
    """Run the command, kill it at random times, and start it again until it ends. At least one kill comes before."""
    rng, kills = random.Random(0), 0
    while True:
        process = start_command(run_dir, "--no-report", "--set", "stage.zero.learning_rate=0.03", *args)
        try:
            _, errors = process.communicate(timeout=rng.uniform(0.2, 0.5) * 1.15**kills)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            assert kills < 30, "no progress between kills"
    assert process.returncode == 0 and kills, errors


def contents(run_dir: str | Path) -> dict[str, bytes]:
    """Return the files of a run that must not depend on how often it was interrupted."""
    names = ("metrics.jsonl", "config.json", "results.json", "state.json", "recipe.toml")
    root = Path(run_dir)
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.name in names}

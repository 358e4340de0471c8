"""Compare the memory that `r1kit check` plans with the peak that a run measures, for small stages of every kind.

python benchmarks/memory_plan.py [NAME ...]

Every stage runs in a process of its own. The peak is the largest resident set of that process, including Python and
libraries (VmHWM). Models have random weights and never end a completion, so completions are as long as allowed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import describe, today

SHAPES: Mapping[str, tuple[str, str, str]] = {  # name -> (model, dtype, the stage)
    "RL, 3.3M": ("3.3M", "float32", """
kind = "rl"
prompts = ["world:arithmetic"]
steps = 3
watchdogs = { never_ends = "off" }  # as the models are made
steps_per_rollout = 1
prompts_per_step = 8
num_generations = 16
max_completion_length = 128
save_every = 1
"""),
    "RL, 19M": ("19M", "float32", """
kind = "rl"
prompts = ["world:arithmetic"]
steps = 2
steps_per_rollout = 1
prompts_per_step = 2
num_generations = 8
micro_batch_tokens = 2048
max_completion_length = 256
save_every = 1
"""),
    "PPO, 19M": ("19M", "float32", """
kind = "rl"
objective = "ppo"
prompts = ["world:arithmetic"]
steps = 2
steps_per_rollout = 1
prompts_per_step = 2
num_generations = 8
micro_batch_tokens = 2048
max_completion_length = 256
save_every = 1
"""),
    "PPO, 52M, bfloat16": ("52M", "bfloat16", """
kind = "rl"
objective = "ppo"
prompts = ["world:arithmetic"]
steps = 2
steps_per_rollout = 1
prompts_per_step = 1
num_generations = 8
micro_batch_tokens = 1024
max_completion_length = 256
save_every = 1
"""),
    "RL, 52M, bfloat16": ("52M", "bfloat16", """
kind = "rl"
prompts = ["world:arithmetic"]
steps = 2
steps_per_rollout = 1
prompts_per_step = 1
num_generations = 8
micro_batch_tokens = 1024
max_completion_length = 256
save_every = 1
"""),
    "SFT, 19M": ("19M", "float32", """
kind = "sft"
data = ["records.jsonl"]
epochs = 1
context_length = 512
sequences_per_step = 10
held_out = 0
save_every = 1
"""),
    "preference, 19M, bfloat16": ("19M", "bfloat16", """
kind = "preference"
data = ["pairs.jsonl"]
epochs = 1
context_length = 512
sequences_per_step = 8
held_out = 0
save_every = 1
"""),
    "pretraining, 6M": ("", "float32", """
kind = "pretrain"
vocab_size = 1024
context_length = 256
sequences_per_step = 32
steps = 3
[stage.s.architecture]
hidden_size = 256
intermediate_size = 768
num_hidden_layers = 8
num_attention_heads = 4
num_key_value_heads = 2
"""),
    "curation, 52M": ("52M", "float32", """
kind = "curate"
template = "r1-zero"
prompts = [{source = "world:arithmetic", limit = 16}]
samples = 4
max_completion_length = 384
"""),
    "evaluation, 52M, bfloat16": ("52M", "bfloat16", """
kind = "evaluate"
benchmarks = {sums = [{source = "world:arithmetic", limit = 32}]}
samples = 4
max_completion_length = 384
"""),
}  # fmt: skip
NOTHING_KEPT = "completions can be used"  # what a random model writes is no training data


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes of one stage."""

    planned: int
    measured: int
    seconds: float

    @property
    def ratio(self) -> float:
        return self.planned / self.measured


def measure(name: str, directory: Path) -> Peak:
    """Plan a stage and run it in a new process in `directory`, where its model is."""
    model, dtype, stage = SHAPES[name]
    source = f'model = "{model}"\n' if model else ""
    recipe = directory / "recipe.toml"
    recipe.write_text(f'name = "memory"\ndevice = "cpu"\ndtype = "{dtype}"\n[stage.s]\n{source}{stage.lstrip()}')
    command = [sys.executable, "-m", "r1kit"]
    check = [*command, "check", "recipe.toml", "--json"]
    checked = subprocess.run(check, cwd=directory, capture_output=True, text=True)
    if checked.returncode:
        raise SystemExit(f"{name}: {checked.stderr}")
    planned = json.loads(checked.stdout)["stages"][0]["memory"]
    start = time.monotonic()
    with (directory / "log.txt").open("w") as log:
        run = subprocess.Popen(
            [*command, "run", "recipe.toml", "--run-dir", "-".join(name.split())], cwd=directory, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(run.pid, 0)
    text = (directory / "log.txt").read_text()
    if status and NOTHING_KEPT not in text:
        raise SystemExit(f"{name}: {text}")
    if "--parts" in sys.argv:
        print({key: f"{value / 1e6:.0f}" for key, value in planned.items()})
    return Peak(planned["peak"], usage.ru_maxrss * 1024, time.monotonic() - start)


def prepare(names: list[str], directory: Path) -> None:
    """Write the models and the records of these shapes."""
    for model in {SHAPES[name][0] for name in names} - {""}:
        subprocess.run([sys.executable, Path(__file__).parent / "models.py", model, directory / model], check=True)
    text = " ".join(str(i % 97) for i in range(170))
    rows = [f"{i}: {text}" for i in range(20)]
    records = [{"prompt": f"Count from {i}.", "response": row} for i, row in enumerate(rows)]
    pairs = [{"prompt": f"Count from {i}.", "chosen": row, "rejected": rows[i - 1]} for i, row in enumerate(rows)]
    for file, content in (("records.jsonl", records), ("pairs.jsonl", pairs)):
        (directory / file).write_text("".join(json.dumps(row) + "\n" for row in content))


def main() -> None:
    names = [name for name in sys.argv[1:] if not name.startswith("--")] or list(SHAPES)
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        prepare(names, directory)
        print(f"{today()}, {describe()}\n\n| stage | planned MB | measured MB | ratio | seconds |")
        print("|---|---|---|---|---|")
        for name in names:
            peak = measure(name, directory)
            sizes = f"{peak.planned / 1e6:.0f} | {peak.measured / 1e6:.0f}"
            print(f"| {name} | {sizes} | {peak.ratio:.2f} | {peak.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()

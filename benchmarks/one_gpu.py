"""Measure what each means to train in less memory saves and costs, in RL updates on a CPU.

python benchmarks/one_gpu.py [--threads 1]

A Qwen2 model of 7M random parameters learns from 4 prompts with 4 completions of 192 tokens each, in micro-batches of
3,072 tokens. Each case runs in its own process: the seconds of the second update, and the largest resident
size beyond what the process had before the model was made.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import time

from machine import describe, today

from r1kit.machine import tune_allocator

CASES = {
    "all weights": {},
    "recompute": {"recompute": "on"},
    "adam_8bit": {"adam_8bit": True},
    "lora_rank = 16": {"lora_rank": 16},
    "lora_rank = 16, recompute": {"lora_rank": 16, "recompute": "on"},
}
PROMPTS, GROUP, TOKENS, UPDATES = 4, 4, 192, 2


def measure(changes: dict[str, object], threads: int) -> dict[str, float]:
    """Return the seconds of an update and the resident MB beyond the libraries."""
    tune_allocator()
    import torch

    from r1kit.config import RL
    from r1kit.learn.batch import make_batch
    from r1kit.learn.learner import Learner
    from r1kit.learn.lora import add_adapters
    from r1kit.learn.memory import configure
    from r1kit.model.config import ModelConfig
    from r1kit.model.decoder import Decoder
    from r1kit.types import Completion

    for library in ("peft", "bitsandbytes"):  # so that no case counts their memory
        importlib.import_module(library)
    torch.set_num_threads(threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shape = dict(model_type="qwen2", vocab_size=8192, hidden_size=256, intermediate_size=768, num_hidden_layers=6)
    model = Decoder(ModelConfig(**shape, num_attention_heads=4, num_key_value_heads=2, head_dim=64, eos_token_ids=(0,)))
    model.init_weights(0)
    settings = dict(prompts=["world:arithmetic"], max_completion_length=TOKENS, micro_batch_tokens=3_072, beta=0.001)
    config = RL(kind="rl", model="m", **settings, **changes)
    configure(model, config, config.micro_batch_tokens, torch.float32)
    if config.lora_rank:
        add_adapters(model, config.lora_rank, config.lora_alpha, seed=0)
    learner = Learner(model, config)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, 8192, (PROMPTS, 64), generator=generator).tolist()
    rows = torch.randint(1, 8192, (PROMPTS, GROUP, TOKENS), generator=generator).tolist()
    groups = [
        [Completion(str(p), i, tuple(row), (-8.0,) * TOKENS, "", "stop") for i, row in enumerate(group)]
        for p, group in enumerate(rows)
    ]
    advantages = torch.randn(PROMPTS, GROUP, generator=generator)
    batch = make_batch(prompts, groups, advantages, temperature=1.0, mask_truncated=False)
    seconds = []
    for step in range(UPDATES):
        start = time.perf_counter()
        learner.step(batch, step)
        seconds.append(time.perf_counter() - start)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": seconds[-1], "MB": used * 1024 / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--case", choices=CASES)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(CASES[args.case], args.threads)))
        return
    print(
        f"{describe()}, {args.threads} threads, {today()}\n\n| case | seconds an update | MB |\n| --- | ---: | ---: |"
    )
    for case in CASES:
        command = [sys.executable, __file__, "--case", case, "--threads", str(args.threads)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        print(f"| {case} | {result['seconds']:.2f} | {result['MB']:,.0f} |", flush=True)


if __name__ == "__main__":
    main()

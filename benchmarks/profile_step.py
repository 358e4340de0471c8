"""Profile a training step of sprout-zero's size: seconds by operator in generation and in the update.

python benchmarks/profile_step.py [--threads 1] [--dtype bfloat16] [--json]

The work is 32 prompts of the sprout world with 16 completions each. Generation samples 48 tokens per completion; the
update trains on them with random advantages. The rate of matrix products of that size in both dtypes is the upper limit
of the update.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

from machine import describe, today

from r1kit.machine import tune_allocator

PROMPTS, ANSWERS, TOKENS, SHOWN = 32, 16, 48, 10


def by_operator(work: Callable[[], object]) -> tuple[float, list[tuple[str, float]]]:
    """Return the seconds of one call without the profiler, and of each operator with it, largest first."""
    from torch.profiler import ProfilerActivity, profile

    for _ in range(2):
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        work()
    spent = sorted(((e.self_cpu_time_total / 1e6, e.key) for e in profiled.key_averages()), reverse=True)
    return seconds, [(name.removeprefix("aten::"), seconds) for seconds, name in spent[:SHOWN]]


def product_rates() -> dict[str, float]:
    """Return GFLOP/s of [4096, 128] x [128, 768], the gate and up projection of a micro-batch."""
    import torch

    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(4096, 128).to(dtype), torch.randn(768, 128).to(dtype).t()
        seconds = []
        for _ in range(50):
            start = time.perf_counter()
            torch.mm(a, b)
            seconds.append(time.perf_counter() - start)
        rates[str(dtype).removeprefix("torch.")] = 2 * 4096 * 128 * 768 / sorted(seconds)[25] / 1e9
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    tune_allocator()
    import torch
    from models import problems

    from r1kit.config import RL
    from r1kit.data.prompt import make_prompts
    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.native import NativeEngine
    from r1kit.learn.batch import make_batch
    from r1kit.learn.learner import Learner
    from r1kit.model.hf import load_model, load_tokenizer
    from r1kit.model.reference import resolve_model

    torch.set_num_threads(args.threads)
    path = resolve_model("sprout-base")
    model, tokenizer = load_model(path, getattr(torch, args.dtype), "cpu"), load_tokenizer(path)
    config = RL(kind="rl", model="sprout-base", prompts=["world:arithmetic"], steps=10, learning_rate=1e-6)
    prompts = [prompt.token_ids for prompt in make_prompts(problems(PROMPTS), config, tokenizer)]
    engine, learner = NativeEngine(model, tokenizer), Learner(model, config)
    engine.stop_ids, engine.stops = engine.stop_ids[:0], set()  # all completions have the same length
    requests = [Request(str(i), prompt, ANSWERS) for i, prompt in enumerate(prompts)]
    params = SamplingParams(seed=0, max_tokens=TOKENS)
    rollout = by_operator(lambda: engine.generate(requests, params))
    completions = engine.generate(requests, params)
    groups = [completions[i : i + ANSWERS] for i in range(0, len(completions), ANSWERS)]
    advantages_PG = torch.randn(PROMPTS, ANSWERS, generator=torch.Generator().manual_seed(0))
    batch = make_batch(prompts, groups, advantages_PG, temperature=1.0, mask_truncated=False)
    update = by_operator(lambda: learner.step(batch, 0))
    result = {
        "machine": describe(),
        "date": today(),
        "threads": args.threads,
        "dtype": args.dtype,
        "GFLOP/s": product_rates(),
    }
    for name, (seconds, operators) in {"rollout": rollout, "update": update}.items():
        result[name] = {"seconds": seconds, "operators": dict(operators)}
    if args.json:
        print(json.dumps(result))
        return
    print(f"{result['machine']}, {args.threads} threads, {args.dtype}, {result['date']}")
    print(", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in result["GFLOP/s"].items()))
    for name in ("rollout", "update"):
        print(f"\n{name}: {result[name]['seconds']:.2f} s")
        for operator, seconds in result[name]["operators"].items():
            print(f"  {seconds:6.2f} s  {operator}")


if __name__ == "__main__":
    main()

"""Compare fused decode steps (the extra `fast`) with torch's: milliseconds of a step, in turns in one process.

python benchmarks/fused.py [--shape 3.2M] [--dtype bfloat16] [--threads 1]

A rollout of 32 prompts x 16 completions at 3.2M parameters (4 prompts at 0.5B), prefill included. Seconds of the
processor are reported too: with one thread, other programs affect them less than the clock. The first call compiles the
kernels or loads them from numba's cache; its seconds are listed apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from machine import describe, today
from models import SHAPES, prepare, prompt_texts

from r1kit.machine import tune_allocator


def engines(model: Path, dtype: str, prompts: int, answers: int) -> dict[str, Callable[[int], None]]:
    """Map "torch" and "fused" to functions that sample so many tokens of every completion."""
    import torch

    from r1kit.engine import blocks, native, sampler
    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.fused import choice, support
    from r1kit.model.hf import load_model, load_tokenizer

    if reason := support.why_not():
        raise SystemExit(reason)
    tokenizer = load_tokenizer(model)
    engine = native.NativeEngine(load_model(model, getattr(torch, dtype), "cpu"), tokenizer)
    texts = prompt_texts(prompts, tokenizer)
    requests = [
        Request(str(i), tuple(tokenizer.encode(text, add_special_tokens=False)), answers)
        for i, text in enumerate(texts)
    ]
    paths = {
        "torch": (lambda model: model, sampler.sample),
        "fused": (choice.with_fused_steps, choice.sample),
    }

    def rollout(name: str, tokens: int) -> None:
        native.with_fused_steps, blocks.sample = paths[name]
        engine.generate(requests, SamplingParams(0, tokens))

    return {name: lambda tokens, name=name: rollout(name, tokens) for name in paths}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="3.2M")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128, help="of a completion")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    tune_allocator()
    import torch

    torch.set_num_threads(args.threads)
    spent: dict[str, list[tuple[float, float]]] = {}
    first = {}
    with TemporaryDirectory() as scratch:
        rollouts = engines(prepare(args.shape, Path(scratch)), args.dtype, 4 if args.shape == "0.5B" else 32, 16)
        for turn in range(args.repeats + 1):
            for name, rollout in rollouts.items():
                clock, processor = time.perf_counter(), time.process_time()
                rollout(args.tokens if turn else 2)
                seconds = (time.perf_counter() - clock, time.process_time() - processor)
                if turn:
                    spent.setdefault(name, []).append(seconds)
                else:
                    first[name] = seconds[1]
    middle = {
        name: [1e3 * median(xs) / args.tokens for xs in zip(*turns, strict=True)] for name, turns in spent.items()
    }
    result = {name: dict(zip(("ms", "processor ms"), pair, strict=True)) for name, pair in middle.items()}
    print(json.dumps({"bench": "fused", **vars(args), **result, "first call, processor s": first,
                      "machine": describe(), "date": today()}))  # fmt: skip


if __name__ == "__main__":
    main()

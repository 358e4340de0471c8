"""Compare fused kernels (the extra `fast`) with torch: milliseconds of some work, in turns in one process.

python benchmarks/fused.py [--work decode] [--shape 3.2M] [--dtype bfloat16] [--threads 1]

The work is a decode step of a rollout of 32 prompts x 16 completions (4 prompts at 0.5B), prefill included; an update
on random completions; or a step of supervised training on packed documents. Seconds of the processor are reported too:
with one thread, other programs affect them less than the clock. The first call compiles the kernels or loads them from
numba's cache; its seconds are listed apart.
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
from models import prepare, prompt_texts
from phases import Size, supervised_step, update_step
from roofline import SIZES

from r1kit.machine import tune_allocator


def rollout(model: Path, dtype: str, size: Size, tokens: int) -> Callable[[], object]:
    """Return a function that samples so many tokens of every completion."""
    import torch

    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.native import NativeEngine
    from r1kit.model.hf import load_model, load_tokenizer

    tokenizer = load_tokenizer(model)
    engine = NativeEngine(load_model(model, getattr(torch, dtype), "cpu"), tokenizer)
    requests = [
        Request(str(i), tuple(tokenizer.encode(text, add_special_tokens=False)), size.answers)
        for i, text in enumerate(prompt_texts(size.prompts, tokenizer))
    ]
    return lambda: engine.generate(requests, SamplingParams(0, tokens))


def training(model: Path, dtype: str, size: Size, work: str) -> Callable[[], object]:
    """Return a function that makes a step."""
    import torch

    from r1kit.model.hf import load_model

    if work == "update":
        return update_step(load_model(model, getattr(torch, dtype), "cpu"), size)
    return supervised_step(load_model(model, torch.float32, "cpu"), size, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=["decode", "update", "supervised"], default="decode")
    parser.add_argument("--shape", choices=SIZES, default="3.2M")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=128, help="of a completion")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    tune_allocator()
    import torch

    torch.set_num_threads(args.threads)
    from r1kit.model.fused import support

    if reason := support.why_not():
        raise SystemExit(reason)
    size, steps = SIZES[args.shape], args.tokens if args.work == "decode" else 1
    spent: dict[str, list[tuple[float, float]]] = {"torch": [], "fused": []}
    with TemporaryDirectory() as scratch:
        model = prepare(args.shape, Path(scratch))
        if args.work == "decode":
            work = rollout(model, args.dtype, size, args.tokens)
        else:
            work = training(model, args.dtype, size, args.work)
        for _ in range(args.repeats + 1):
            for name, times in spent.items():
                support.why_not = lambda name=name: "not fused here" if name == "torch" else None
                clock, processor = time.perf_counter(), time.process_time()
                work()
                times.append((time.perf_counter() - clock, time.process_time() - processor))
    middle = {name: [1e3 * median(xs) / steps for xs in zip(*times[1:], strict=True)] for name, times in spent.items()}
    result = {name: dict(zip(("ms", "processor ms"), pair, strict=True)) for name, pair in middle.items()}
    first = {name: times[0][1] for name, times in spent.items()}
    print(json.dumps({"bench": "fused", **vars(args), **result, "first call, processor s": first,
                      "machine": describe(), "date": today()}))  # fmt: skip


if __name__ == "__main__":
    main()

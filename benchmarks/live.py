"""Compare a live engine with the engine it is made of: tokens per second of 32 streams.

python benchmarks/live.py [--model MODEL] [--dtype DTYPE] [--streams N] [--tokens N] [--rounds N] [--cpu]

The same prompts are completed by `generate`, all known in advance, and by the live engine, which returns the tokens of
every few steps. No completion ends early. Each figure is the best of several rounds, in which the two take turns. The
other lines change one thing: every request has its own temperature, or must match a JSON Schema.

--cpu measures the time of the processor instead, for a machine that others use.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from machine import describe, today

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import make_engine, make_live_engine
from r1kit.engine.live.base import Constraint, LiveRequest
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.model.reference import resolve_model

SCHEMA = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
TEXT = "Anna has 5 apples and buys 12 more. Then she gives 4 of them to her brother. How many apples does she have? "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sprout-base")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    directory = resolve_model(options.model)
    model, tokenizer = load_model(directory, torch_dtype(options.dtype), "cpu"), load_tokenizer(directory)
    model.config = replace(model.config, eos_token_ids=())
    engine, live = make_engine(model, tokenizer, options.streams), make_live_engine(model, tokenizer, options.streams)
    for one in (engine, live):
        one.stops, one.stop_ids = set(), torch.tensor([], dtype=torch.long)  # nothing ends early
    prompt, params = tuple(tokenizer.encode(TEXT)), SamplingParams(seed=1, max_tokens=options.tokens)
    prompts = [prompt[i % 8 :] for i in range(options.streams)]

    def generate() -> None:
        completions = engine.generate([Request(f"r{i}", p) for i, p in enumerate(prompts)], params)
        assert all(len(completion.token_ids) == options.tokens for completion in completions)

    def serve(constraint: Constraint | None = None, temperatures: bool = False) -> None:
        for i, p in enumerate(prompts):
            own = replace(params, temperature=0.5 + i / len(prompts)) if temperatures else params
            live.add(LiveRequest(f"r{i}", p, own, prompt_id=f"r{i}", constraint=constraint))
        sampled = 0
        while live.has_work:
            sampled += sum(len(delta.token_ids) for delta in live.step())
        assert sampled == options.tokens * options.streams

    kinds: dict[str, Callable[[], None]] = {
        "generate": generate,
        "live": serve,
        "live, own temperatures": lambda: serve(temperatures=True),
        "live, JSON Schema": lambda: serve(Constraint("json_schema", json.dumps(SCHEMA))),
    }
    best = dict.fromkeys(kinds, float("inf"))
    for _ in range(options.rounds):
        for name, work in kinds.items():
            started = clock()
            work()
            best[name] = min(best[name], clock() - started)
    print(f"{describe()}, {torch.get_num_threads()} threads, {today()}")
    measured = "processor" if options.cpu else "wall"
    print(f"{directory.name}, {options.dtype}, {options.streams} streams of {options.tokens} tokens, {measured} time")
    for name, seconds in best.items():
        speed = options.tokens * options.streams / seconds
        print(f"{name:30} {speed:8,.0f} tokens/s {best['generate'] / seconds:7.0%} of generate")


if __name__ == "__main__":
    main()

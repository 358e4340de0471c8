"""Load `r1kit serve` with streams, overload, hostile requests and disconnects, and compare its speed with the engine's.

python benchmarks/serve_load.py                      # all parts, in about 20 minutes on two cores
python benchmarks/serve_load.py --parts throughput

Prints one JSON line for each part, with `holds`: whether it is as it must be. The client runs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from machine import describe

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import serve_load
from serve_process import ServeProcess, serve_process

from r1kit.config import Template
from r1kit.data.template import encode_prompt, render_prompt
from r1kit.engine.base import SamplingParams
from r1kit.engine.factory import make_live_engine
from r1kit.engine.live.base import LiveRequest
from r1kit.machine import choose_compute, tune_allocator
from r1kit.model.dtypes import torch_dtype
from r1kit.model.hf import load_model, load_tokenizer
from r1kit.model.reference import resolve_model

CONCURRENT = 64  # completions that the server decodes together
STREAMS = 32  # for throughput
GROWTH_MIB = 64  # memory may grow by so much in 10,000 hostile requests, behind a tenth as many to warm up
SHARE = 0.85  # of the engine's own throughput


def engine_throughput(model: str, numbers: Iterable[int], at_once: int, max_tokens: int) -> float:
    """Return the engine's own tokens per second for the requests that `serve_load.throughput` sends."""
    compute = choose_compute()
    directory = resolve_model(model)
    tokenizer = load_tokenizer(directory)
    engine = make_live_engine(load_model(directory, torch_dtype(compute.dtype), compute.device), tokenizer, CONCURRENT)
    waiting, running, tokens = [*reversed([*numbers])], 0, 0
    start = time.monotonic()
    while waiting or running:
        while waiting and running < at_once:
            engine.add(_request(waiting.pop(), tokenizer, max_tokens))
            running += 1
        for delta in engine.step():
            tokens += len(delta.token_ids)
            running -= delta.finish_reason is not None
    seconds = time.monotonic() - start
    engine.close()
    return tokens / seconds


def _request(number: int, tokenizer: Any, max_tokens: int) -> LiveRequest:
    asked = serve_load.asked(number, max_tokens, 2.0)
    template: Template = "chat" if tokenizer.chat_template else "r1-zero"
    prompt = render_prompt(asked["messages"][0]["content"], template, tokenizer)
    params = SamplingParams(asked["seed"], max_tokens, asked["temperature"], asked["top_p"])
    return LiveRequest(str(number), tuple(encode_prompt(prompt, tokenizer)), params)


def compare_throughput(server: ServeProcess, args: argparse.Namespace) -> dict[str, Any]:
    """Measure engine and server in turn, in random order, and compare the best of each: other load only slows down."""
    served, own = [], []
    for index in range(args.rounds):
        numbers = range(1000 * index, 1000 * index + args.requests)
        measures = [
            lambda: served.append(asyncio.run(serve_load.throughput(server, numbers, STREAMS, args.tokens))),  # noqa: B023
            lambda: own.append(engine_throughput(args.model, numbers, STREAMS, args.tokens)),  # noqa: B023
        ]
        for measure in random.sample(measures, 2):
            measure()
    share = max(served) / max(own)
    return {"streams": STREAMS, "served": served, "engine": own, "share": round(share, 3), "holds": share >= SHARE}


def measure(part: str, server: ServeProcess, args: argparse.Namespace) -> dict[str, Any]:
    """Run one part."""
    if part == "throughput":
        return compare_throughput(server, args)
    if part == "streams":
        seen = asyncio.run(serve_load.streams(server, CONCURRENT, args.seconds))
        holds = not seen["cut"] and set(seen["statuses"]) == {"200"} and not seen["different_from_alone"]
    elif part == "overload":
        seen = asyncio.run(serve_load.overload(server, args.overload))
        holds = set(seen["statuses"]) <= {"200", "429"} and not seen["cut"] and not seen["without_retry_after"]
    elif part == "hostile":
        seen = asyncio.run(serve_load.hostile(server, args.hostile, at_once=64, warm_up=args.hostile // 10))
        flat = seen["memory_grown_mib"] <= GROWTH_MIB and not seen["in_flight"]
        holds = not serve_load.server_errors(seen) and not seen["hangs"] and flat and seen["alive"]
    else:
        seen = asyncio.run(serve_load.disconnects(server, args.disconnects))
        holds = not seen["in_flight"] and seen["alive"]
    return {**seen, "holds": holds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["streams", "overload", "hostile", "disconnects", "throughput"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--seconds", type=float, default=60, help="of streams")
    parser.add_argument("--overload", type=int, default=10 * 2 * CONCURRENT, help="requests at the same time")
    parser.add_argument("--hostile", type=int, default=10_000)
    parser.add_argument("--disconnects", type=int, default=500)
    parser.add_argument("--requests", type=int, default=128, help="for each measurement of throughput")
    parser.add_argument("--rounds", type=int, default=3, help="of throughput")
    parser.add_argument("--tokens", type=int, default=200, help="of a completion, at most, for throughput")
    parser.add_argument("--model", default="sprout-base")
    args = parser.parse_args()
    tune_allocator()  # as the server does
    limits = ["--max-concurrent", str(CONCURRENT), "--max-queue", str(CONCURRENT)]
    for part in args.parts:
        with serve_process(f"sprout-base={args.model}", *limits) as server:  # under the name that requests ask for
            seen = measure(part, server, args)
            faults = sum("Traceback" in line for line in server.messages)
        print(json.dumps({"part": part, **seen, "tracebacks": faults, "machine": describe()}), flush=True)


if __name__ == "__main__":
    main()

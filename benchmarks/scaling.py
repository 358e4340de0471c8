"""Compare several processes with one thread each to one process with one thread: seconds of a rollout and an update.

python benchmarks/scaling.py
python benchmarks/scaling.py --prompts 4 --answers 4 --tokens 16 --repeats 1 --rounds 1     (a trial of a minute)

The work is that of a step of sprout-zero: 32 prompts of the sprout world with 16 completions each. A rollout samples 48
tokens of every completion; several processes sample their share of the prompts and exchange the completions. An update
trains on all of them; several processes compute their share of the gradient, with complete weights in each process, or
with shares of the weights (shard_weights). A speedup of N for N processes is an efficiency of 100 %. The processes run
on one machine: they share its memory bandwidth, and there must be a core for each.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from machine import describe, today

from r1kit.machine import tune_allocator

PHASES = ("rollout", "update")


def measure(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each phase on this rank, between two moments at which all ranks meet."""
    import torch
    from models import problems

    from r1kit.config import RL
    from r1kit.data.prompt import make_prompts
    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.native import NativeEngine
    from r1kit.learn.batch import make_batch
    from r1kit.learn.learner import Learner
    from r1kit.learn.world import open_world
    from r1kit.model.hf import load_model, load_tokenizer
    from r1kit.model.reference import resolve_model

    path, answers = resolve_model("sprout-base"), arguments.answers
    model, tokenizer = load_model(path, torch.float32, "cpu"), load_tokenizer(path)
    training = dict(steps=10, learning_rate=1e-6, shard_weights=arguments.shard_weights)
    config = RL(kind="rl", model="sprout-base", prompts=["world:arithmetic"], **training)
    prompts = [prompt.token_ids for prompt in make_prompts(problems(arguments.prompts), config, tokenizer)]
    requests = [Request(str(i), prompt, answers) for i, prompt in enumerate(prompts)]
    params = SamplingParams(seed=0, max_tokens=arguments.tokens)
    advantages_PG = torch.randn(len(prompts), answers, generator=torch.Generator().manual_seed(0))
    with open_world() as world:
        engine, learner = NativeEngine(model, tokenizer), Learner(model, config, world)
        engine.stop_ids, engine.stops = engine.stop_ids[:0], set()  # all completions have the same length

        def rollout() -> list:
            with learner.complete_policy() as policy:
                engine.load_weights(policy, 0)
                sampled = engine.generate(requests[world.rank :: world.size], params)
            shares = [
                [share[i : i + answers] for i in range(0, len(share), answers)] for share in world.gather(sampled)
            ]
            return [shares[i % world.size][i // world.size] for i in range(len(requests))]

        groups = rollout()
        batch = make_batch(prompts, groups, advantages_PG, temperature=1.0, mask_truncated=False)
        learner.step(batch, 0)  # allocates the optimizer's state

        def timed(work: Callable[[], object]) -> float:
            world.any(False)
            start = time.perf_counter()
            work()
            world.any(False)
            return time.perf_counter() - start

        works = {"rollout": rollout, "update": lambda: learner.step(batch, 0)}
        return {name: [timed(work) for _ in range(arguments.repeats)] for name, work in works.items()}


def run(processes: int, shard_weights: bool, options: list[str]) -> dict[str, list[float]]:
    """Run the work in new processes with one thread each. Return the seconds of the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, __file__, "--worker", *options, *(["--shard-weights"] if shard_weights else [])]
    together = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    ranks = [
        subprocess.Popen(
            command, env={**os.environ, **threads, **together, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(processes)
    ]
    outputs = [rank.communicate()[0] for rank in ranks]
    if any(rank.returncode for rank in ranks):
        raise SystemExit(f"{processes} processes ended with {[rank.returncode for rank in ranks]}")
    seconds: dict[str, list[float]] = json.loads(outputs[0].splitlines()[-1])
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--answers", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3, help="of each phase in one start of the processes")
    parser.add_argument("--rounds", type=int, default=2, help="starts of every setting, in turns")
    parser.add_argument("--shard-weights", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        tune_allocator()
        print(json.dumps(measure(arguments)))
        return
    names = ("prompts", "answers", "tokens", "repeats")
    options = [word for name in names for word in (f"--{name}", str(getattr(arguments, name)))]
    many = arguments.processes
    settings = {"one process": (1, False), f"{many} processes": (many, False), f"{many}, shared weights": (many, True)}
    seconds: dict[str, dict[str, list[float]]] = {name: {phase: [] for phase in PHASES} for name in settings}
    for _ in range(arguments.rounds):
        for name, setting in settings.items():
            for phase, spent in run(*setting, options).items():
                seconds[name][phase] += spent
    print(f"{describe()}, {today()}; one thread a process, medians of {arguments.rounds * arguments.repeats}\n")
    print("| | " + " | ".join(f"{phase}, s | speedup | efficiency" for phase in PHASES) + " |")
    print("| --- |" + " ---: |" * 3 * len(PHASES))
    line: dict[str, object] = {"bench": "scaling", "processes": many}
    for name, phases in seconds.items():
        cells = []
        for phase, spent in phases.items():
            speedup = median(seconds["one process"][phase]) / median(spent)
            count = settings[name][0]
            cells.append(f"{median(spent):.2f} | {speedup:.2f} | {speedup / count:.0%}")
            line[f"{name}: {phase}"] = {"seconds": median(spent), "speedup": speedup, "efficiency": speedup / count}
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\n" + json.dumps({**line, "unit": "seconds", "machine": describe()}))


if __name__ == "__main__":
    main()

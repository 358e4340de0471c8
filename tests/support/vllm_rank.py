"""One of several processes that torchrun starts: it samples by vLLM, and prints how well that agrees with our engine.

Usage: vllm_rank.py FOLDER [URL of a server; without one, vLLM runs in each process]
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from vllm_agreement import agreement, nudge, questions
from vllm_process import MODEL

from r1kit.engine.base import EngineChoice
from r1kit.engine.factory import make_engine
from r1kit.model.hf import load_model, load_tokenizer


def main(folder: str, *urls: str) -> None:
    dist.init_process_group("gloo")
    rank, model, tokenizer = dist.get_rank(), load_model(MODEL, torch.float32, "cpu"), load_tokenizer(MODEL)
    choice = EngineChoice("servers", urls, Path(folder) / "weights") if urls else EngineChoice("vllm")
    if rank == 0:  # the first alone evaluates, before all train: with other settings, so vLLM starts again
        make_engine(model, tokenizer, 8, 8 * 256, choice)
    dist.all_reduce(torch.ones(1), group=dist.new_group())  # for checkpoints
    engine = make_engine(model, tokenizer, 16, 16 * 256, choice)
    found = []
    for version in range(1, 4):
        nudge(model, 0.003, version)
        if rank == 0:  # the others must wait for the weights, not for the clock
            time.sleep(1.0)
        engine.load_weights(model, version)
        found.append(asdict(agreement(engine, model, tokenizer, questions(tokenizer, 64)[rank * 20 : 20 + rank * 44])))
        dist.all_reduce(torch.ones(1))  # as the end of a step
    (Path(folder) / f"rank_{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

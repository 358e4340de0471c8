"""Check r1kit on a GPU in at most six minutes, and print the results as one JSON object.

python scripts/gpu_check.py [--out FILE]

    limits      bytes per second of a large copy; operations per second of a large matrix product
    agreement   logits and gradients against the CPU, with the same weights: float32, and bfloat16 with packed rows
    decode      tokens per second against what reading weights, keys and values at full bandwidth allows, for r1kit's
                engine and, if it is installed, for vLLM
    grpo        one step of 0.5B and 1.5B parameters: rollout and update, model FLOP utilisation (MFU), and the peak of
                memory against the plan
    sft         forward and backward passes on packed rows: tokens per second and MFU

Weights are random, so a completion has as many tokens as it may. MFU counts 6 operations per parameter and token, 2
more with a reference model, none for attention and recomputation. A part that fails has its error as its result; parts
that would begin after five minutes are left out. Exit codes: 0 all measured or left out, 1 a part failed, 2 no GPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from random_work import (
    FULL,
    TINY,
    Work,
    batch_of,
    random_batch,
    random_model,
    random_prompts,
    random_row,
    rl_config,
)

from r1kit.engine.base import Engine, EngineChoice, Request, SamplingParams
from r1kit.engine.blocks import BlockEngine
from r1kit.engine.factory import make_engine
from r1kit.learn.learner import Learner
from r1kit.learn.memory import configure
from r1kit.learn.next_token import answer_loss, hidden_states
from r1kit.machine import cpu_name, free_memory
from r1kit.model.decoder import Decoder
from r1kit.model.hf import load_tokenizer
from r1kit.model.reference import resolve_model
from r1kit.plan.gpus import GPUS
from r1kit.plan.memory import GENERATION, KEPT, TRAINING, Setting, memory, token_cache_bytes
from r1kit.types import Completion

NO_GPU = "not measured: no GPU"
LATEST_START = 300.0  # seconds after which no part begins
OUT_OF_TIME = "not measured: out of time"
MFU_COUNTS = 6  # operations of forward and backward passes per parameter and token
Result = dict[str, Any]


def main() -> int:
    """Read the arguments, print the JSON, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)  # for tests
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print(NO_GPU)
        return 2
    result = Check(torch.device(args.device), TINY if args.tiny else FULL).run()
    text = json.dumps(result)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)
    return 1 if result["failed"] else 0


class Check:
    """All parts, one after another."""

    def __init__(self, device: torch.device, work: Work) -> None:
        self.device, self.work, self.start = device, work, time.monotonic()
        self.failed: list[str] = []
        self.limits: Result = {}
        self.tokenizer = load_tokenizer(resolve_model("sprout-base"))

    def run(self) -> Result:
        """Return all results."""
        name = self.card or cpu_name()
        about = {"device": name, "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()}
        self.limits = self.part("limits", self.measure_limits)
        results = {"limits": self.limits, "agreement": self.part("agreement", self.agreement)}
        for size, shape in self.work.shapes.items():
            model = random_model(shape, self.device).bfloat16()
            results[size] = {
                "decode": self.part(f"{size} decode", lambda model=model: self.decode(model, EngineChoice())),
                "sft": self.part(f"{size} sft", lambda model=model: self.sft(model)),
                "grpo": self.part(f"{size} grpo", lambda model=model: self.grpo(model)),
                "vllm": self.part(f"{size} vllm", lambda model=model: self.vllm(model)),
            }
            del model
        return {**about, "seconds": round(time.monotonic() - self.start), "failed": self.failed, **results}

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return what a part measures, its error, or that there was no time for it."""
        if time.monotonic() - self.start > LATEST_START:
            return OUT_OF_TIME
        print(f"{time.monotonic() - self.start:5.0f} s  {name}", file=sys.stderr, flush=True)
        try:
            return measure()
        except Exception as error:  # a GPU is dear: the other parts are measured all the same
            traceback.print_exc()
            self.failed.append(name)
            return {"error": f"{type(error).__name__}: {error}"}
        finally:
            free_memory()

    def measure_limits(self) -> Result:
        """Return rates that were measured, and those of the data sheet where the card is known."""
        n, known = self.work.matrix, [gpu for gpu in GPUS.values() if gpu.name in self.card.split()]
        source = torch.ones(n, n, device=self.device)
        target = torch.empty_like(source)
        a = torch.randn(n, n, device=self.device).bfloat16()
        copied = self.seconds(lambda: target.copy_(source))
        product = self.seconds(lambda: a @ a)
        result = {"bytes_per_second": 2 * 4 * n * n / copied, "bfloat16_flops": 2 * n**3 / product}
        return result | ({"data_sheet": [known[0].bandwidth, known[0].flops]} if known else {})

    @property
    def card(self) -> str:
        """Name of the GPU; "" on a CPU."""
        return torch.cuda.get_device_name() if self.device.type == "cuda" else ""

    @property
    def bandwidth(self) -> float:
        """Bytes per second, of the data sheet if the card is known."""
        return float(self.limits.get("data_sheet", [self.limits["bytes_per_second"]])[0])

    @property
    def flops(self) -> float:
        """Operations per second in bfloat16, of the data sheet if the card is known."""
        return float(self.limits.get("data_sheet", [0, self.limits["bfloat16_flops"]])[1])

    def agreement(self) -> Result:
        """Compare logits, log-probabilities and gradients with the CPU's in float32."""
        shape = replace(next(iter(self.work.shapes.values())), num_hidden_layers=2)
        work = replace(self.work, prompts=2, group=4, tokens=min(64, self.work.tokens))
        there = random_model(shape, torch.device("cpu"))
        here = copy.deepcopy(there).to(self.device)
        half = copy.deepcopy(here).bfloat16()
        row, logits, gradients = random_row(shape, 4 * work.tokens), [], []
        for model in (there, here, half):
            with torch.no_grad():
                logits.append(model.logits(hidden_states(model, row)).float().cpu())
            learner = Learner(model, rl_config(work))
            learner.backward(random_batch(model, work), work.tokens)
            gradients.append([p.grad.double().cpu() for p in learner.master.parameters() if p.grad is not None])
        logprobs = [each.log_softmax(-1) for each in logits]
        return {
            "float32_logits_max": float((logits[1] - logits[0]).abs().max()),
            "float32_gradient": relative(gradients[1], gradients[0]),
            "bfloat16_logprob_mean": float((logprobs[2] - logprobs[0]).abs().mean()),
            "bfloat16_gradient": relative(gradients[2], gradients[0]),
        }

    def decode(self, model: Decoder, choice: EngineChoice) -> Result:
        """Generate, and compare with the time of reading weights, keys and values once for every token step."""
        w, shape = self.work, model.config
        rows, length = w.prompts * w.group, w.prompt_tokens + w.tokens
        engine = make_engine(model, self.tokenizer, rows, rows * length, choice)
        if isinstance(engine, BlockEngine):
            endless(engine)
        counts: list[int] = []
        seconds = self.seconds(lambda: counts.append(tokens_of(self.sample(engine, model))))
        read = w.tokens * 2 * shape.parameter_count()
        read += rows * w.tokens * (w.prompt_tokens + w.tokens / 2) * token_cache_bytes(shape, 2)
        floor = read / self.bandwidth
        return {
            "rows": rows,
            "tokens_per_second": counts[-1] / seconds,
            "of_the_bandwidth_floor": floor / seconds * counts[-1] / (rows * w.tokens),
        }

    def vllm(self, model: Decoder) -> Any:
        """Decode with vLLM, if it is installed."""
        return self.decode(model, EngineChoice("vllm")) if find_spec("vllm") else "not measured: vLLM is not installed"

    def grpo(self, model: Decoder) -> Result:
        """Sample a rollout, train on it, and compare the peak with the plan."""
        w, shape, config = self.work, model.config, rl_config(self.work)
        rows, length = w.prompts * w.group, w.prompt_tokens + w.tokens
        setting = Setting("cuda", "bfloat16", rows, kv_cache_tokens=rows * length)
        planned = memory(config, shape, setting)
        configure(model, config, config.micro_batch_tokens, torch.bfloat16)
        learner = Learner(model, config)
        engine = make_engine(model, self.tokenizer, rows, rows * length)
        assert isinstance(engine, BlockEngine)
        endless(engine)
        kept = sum(planned.get(name, 0) for name in KEPT if name not in ("base", "completions"))
        peaks, spent, result = {}, {}, {}
        completions: list[Completion] = []
        for name, parts in (("rollout", GENERATION), ("update", TRAINING)):
            times = []
            for step in range(2):  # the first one compiles and allocates
                start = self.begin()
                if name == "rollout":
                    completions = self.sample(engine, model)
                else:
                    result = learner.step(batch_of(model, w, completions), step)
                times.append(self.now() - start)
            spent[name], peaks[name] = times[-1], self.peak(kept + sum(planned.get(part, 0) for part in parts))
        trained = tokens_of(completions) + w.prompts * w.prompt_tokens
        operations = trained * shape.parameter_count() * (MFU_COUNTS + 2)  # with the reference
        mfu = operations / spent["update"] / self.flops
        return {
            "seconds": spent,
            "update_mfu": mfu,
            "tokens": trained,
            "logprob_difference_mean": result["sampling/logp_difference_mean"],
            "grad_norm": result["grad_norm"],
            "memory": peaks,
        }

    def sft(self, model: Decoder) -> Result:
        """Run forward and backward passes on one packed row."""
        row = random_row(model.config, self.work.row_tokens)
        model.recompute = False

        def passes() -> None:
            model.zero_grad()
            (answer_loss(model, row) / row.count).backward()

        seconds = self.seconds(passes)
        model.zero_grad()
        tokens = len(row.tokens_T)
        mfu = MFU_COUNTS * model.config.parameter_count() * tokens / seconds / self.flops
        return {"tokens_per_second": tokens / seconds, "mfu": mfu}

    def sample(self, engine: Engine, model: Decoder) -> list[Completion]:
        """Sample a group of completions of every prompt."""
        prompts = random_prompts(model.config, self.work)
        requests = [Request(str(i), tuple(ids), self.work.group) for i, ids in enumerate(prompts)]
        return engine.generate(requests, SamplingParams(0, self.work.tokens))

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the median of some runs after a warm-up."""
        work()
        times = []
        for _ in range(self.work.repeats):
            start = self.begin()
            work()
            times.append(self.now() - start)
        return median(times)

    def begin(self) -> float:
        """Forget the peak of memory, and return the time."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        return self.now()

    def now(self) -> float:
        """Return the time when the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def peak(self, planned: int) -> Result:
        """Return the allocated peak since `begin` beside the planned bytes; CUDA's own memory is in neither."""
        measured = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None
        shown = {"planned": planned, "measured": measured}
        return shown | ({"measured_of_planned": measured / planned} if measured else {})


def endless(engine: BlockEngine) -> None:
    """Let no token end a completion."""
    engine.stop_ids, engine.stops = engine.stop_ids[:0], frozenset()


def tokens_of(completions: Sequence[Completion]) -> int:
    """Return the tokens of all completions."""
    return sum(len(completion.token_ids) for completion in completions)


def relative(actual: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Return the relative error of a complete gradient."""
    errors = sum(float((a - b).square().sum()) for a, b in zip(actual, expected, strict=True))
    return (errors / sum(float(b.square().sum()) for b in expected)) ** 0.5


if __name__ == "__main__":
    sys.exit(main())

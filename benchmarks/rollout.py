"""Compare generation in r1kit and four other libraries: tokens per second and time to the first token.

make bench NAME=rollout

The tasks are 512 completions of 128 tokens from a 3.2M-parameter Qwen2 (32 prompts x 16, in fp32 and bf16), and 64
completions of 64 tokens from the shape of Qwen2.5-0.5B (4 prompts x 16, in bf16). All are sampled at temperature 1, and
none ends early. vLLM is its CPU build and uses n=16 per prompt, prefix caching, compilation, Intel's OpenMP and all
cores; by default it would leave one to its scheduler, which is slower. OpenVINO GenAI reads the weights as float16.
llama.cpp is compiled for this processor; llama_cpp_engine.py says how it is used. r1kit uses the extra `fast`, and in
the variant "torch" only torch. By default its logits are float32 in every dtype; in "r1kit, bfloat16 head" they are
bfloat16, as in the others. Only r1kit also returns log-probabilities.

The time to the first token is from starting Python to one token of one prompt, including imports and loading weights.
For vLLM, "again" is with the code that it compiled the first time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from compare import Contender, Failed, Turns, alternate, arguments, finish, limits, say, table, worker
from models import SHAPES, prepare, prompt_texts

Generate = Callable[
    [list[list[int]], int, int], int
]  # (prompts, completions per prompt, tokens per completion) -> tokens generated
NAMES = (
    "r1kit",
    "r1kit, torch",
    "r1kit, bfloat16 head",
    "vLLM",
    "OpenVINO",
    "llama.cpp",
    "transformers",
)
CACHE_BYTES = 2 << 30  # of vLLM and OpenVINO; more than any task needs


@dataclass(frozen=True)
class Task:
    shape: str
    dtype: str
    prompts: int
    answers: int
    tokens: int


FULL = [
    Task("3.2M", "float32", 32, 16, 128),
    Task("3.2M", "bfloat16", 32, 16, 128),
    Task("0.5B", "bfloat16", 4, 16, 64),
]
QUICK = [Task("3.2M", "float32", 2, 4, 8)]


def ours(model: Path, dtype: str, variant: str = "") -> Generate:
    import torch

    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.native import NativeEngine
    from r1kit.model.fused import support
    from r1kit.model.hf import load_model, load_tokenizer

    if variant == "torch":
        support.why_not = lambda: "the variant without kernels"
    elif reason := support.why_not():
        raise SystemExit(reason)

    policy = load_model(model, getattr(torch, dtype), "cpu")
    policy.fp32_head = variant != "bfloat16 head"
    engine = NativeEngine(policy, load_tokenizer(model))

    def generate(prompts: list[list[int]], answers: int, tokens: int) -> int:
        requests = [Request(str(i), tuple(ids), answers) for i, ids in enumerate(prompts)]
        return sum(len(one.token_ids) for one in engine.generate(requests, SamplingParams(0, tokens)))

    return generate


def vllm(model: Path, dtype: str) -> Generate:
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=str(model),
        dtype=dtype,
        skip_tokenizer_init=True,
        max_model_len=1024,
        max_num_seqs=512,
        kv_cache_memory_bytes=CACHE_BYTES,
        enable_prefix_caching=True,
    )

    def generate(prompts: list[list[int]], answers: int, tokens: int) -> int:
        params = SamplingParams(n=answers, max_tokens=tokens, temperature=1.0, ignore_eos=True, detokenize=False)
        given = [{"prompt_token_ids": ids} for ids in prompts]
        return sum(
            len(one.token_ids) for done in engine.generate(given, params, use_tqdm=False) for one in done.outputs
        )

    return generate


def openvino(model: Path, dtype: str) -> Generate:
    import numpy as np
    from gguf_model import write_gguf
    from openvino import Tensor
    from openvino_genai import ContinuousBatchingPipeline, GenerationConfig, SchedulerConfig

    if not (path := model / "float16.gguf").exists():
        write_gguf(model, path, "float16")
    scheduler = SchedulerConfig()
    scheduler.max_num_seqs, scheduler.max_num_batched_tokens = 512, 4096
    scheduler.cache_size = CACHE_BYTES >> 30  # GB
    scheduler.dynamic_split_fuse = scheduler.enable_prefix_caching = True
    precision = {"float32": "f32", "bfloat16": "bf16"}[dtype]
    engine = ContinuousBatchingPipeline(str(path), scheduler, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    def generate(prompts: list[list[int]], answers: int, tokens: int) -> int:
        settings = GenerationConfig(
            max_new_tokens=tokens, num_return_sequences=answers, do_sample=True, temperature=1.0, ignore_eos=True
        )
        given = [Tensor(np.array([ids], np.int64)) for ids in prompts]
        done = engine.generate(given, [settings] * len(given))
        return sum(len(ids) for result in done for ids in result.m_generation_ids)

    return generate


def llama_cpp(model: Path, dtype: str) -> Generate:
    from gguf_model import write_gguf
    from llama_cpp_engine import LlamaCpp

    if not (path := model / f"{dtype}.gguf").exists():
        write_gguf(model, path, dtype)
    return LlamaCpp(path, sequences=512, length=512, threads=len(os.sched_getaffinity(0))).generate


def transformers(model: Path, dtype: str) -> Generate:
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    policy = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))

    @torch.inference_mode()
    def generate(prompts: list[list[int]], answers: int, tokens: int) -> int:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
        settings = GenerationConfig(
            do_sample=True,
            top_k=0,
            max_new_tokens=tokens,
            num_return_sequences=answers,
            pad_token_id=0,
            eos_token_id=-1,
        )
        written = policy.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        return written[:, width:].numel()

    return generate


def contend(name: str, model: Path, task: Task) -> None:
    from r1kit.model.hf import load_tokenizer

    turns = Turns()
    kind, _, variant = name.partition(", ")
    engines = {"r1kit": ours, "vLLM": vllm, "OpenVINO": openvino, "llama.cpp": llama_cpp,
               "transformers": transformers}  # fmt: skip
    generate = engines[kind](model, task.dtype, *([variant] if variant else []))
    tokenizer = load_tokenizer(model)
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in prompt_texts(task.prompts, tokenizer)]
    turns.done(tokens=generate(prompts[:1], 1, 1))
    while True:
        start = time.monotonic()
        tokens = generate(prompts, task.answers, task.tokens)
        seconds = time.monotonic() - start
        turns.done(tokens=tokens, rate=tokens / seconds, prompt_tokens=sum(map(len, prompts)))


def environment(name: str, scratch: Path) -> dict[str, str]:
    """Return the documented settings for vLLM, which keeps its compiled code in `scratch`."""
    if not name.startswith("vLLM"):
        return {}
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return {
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": str(24 * 3600),  # waiting for its turn must not time out
        "VLLM_CPU_OMP_THREADS_BIND": cores,
        "VLLM_CACHE_ROOT": str(scratch / name),
        **({"LD_PRELOAD": str(openmp)} if openmp.exists() else {}),
    }


def measure(task: Task, names: tuple[str, ...], repeats: int, scratch: Path, options: list[str]) -> dict[str, Any]:
    """Return tokens per second and seconds to the first token by contender, or the reason for its failure."""
    model = prepare(task.shape, scratch)
    started: list[Contender] = []
    results: dict[str, dict[str, Any]] = {}

    def start(name: str) -> Contender:
        return worker(__file__, name, "--model", str(model), *options, **environment(name, scratch))

    try:
        for name in names:
            if name.endswith("bfloat16 head") and task.dtype != "bfloat16":
                continue
            try:
                with start(name) as first:
                    results[name] = {"first_token": first.seconds_to_first}
                started.append(start(name))
                results[name]["first_token_again"] = started[-1].seconds_to_first
                started[-1].turn()  # warm-up
            except Failed as error:
                results[name] = {"failed": str(error)}
        for name, turns in alternate([one for one in started if one.process.poll() is None], repeats).items():
            if any(turn["tokens"] < 0.99 * task.prompts * task.answers * task.tokens for turn in turns):
                raise SystemExit(f"{name} did not generate all tokens: {turns}")
            results[name]["rate"] = median(turn["rate"] for turn in turns)
            results[name]["prompt_tokens"] = turns[0]["prompt_tokens"]
        for one in results.values():
            if "rate" not in one:
                one.setdefault("failed", "it stopped")
    finally:
        for one in started:
            one.end()
    return results


def floor(task: Task, prompt_tokens: int, copy_rate: float) -> float:
    """Return the tokens per second at which memory bandwidth limits reading weights, keys and values once per step."""
    shape, size = SHAPES[task.shape], {"float32": 4, "bfloat16": 2}[task.dtype]
    rows = task.prompts * task.answers
    per_token = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim
    cached = rows * task.tokens / 2 + prompt_tokens  # mean over steps; a prompt's cache is read once for its group
    return rows * copy_rate / (size * (shape.parameter_count() + cached * per_token))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--task", type=int, help="run only this task, counted from 0")
    parser.add_argument("--only", nargs="+", default=list(NAMES), help="contenders to run; default: all")
    args = parser.parse_args()
    tasks = QUICK if args.quick else FULL
    if args.worker:
        return contend(args.worker, args.model, tasks[args.task])
    possible = limits()
    pages, details, ratios = [f"Memory bandwidth: {possible['copy'] / 1e9:.1f} GB/s (copy)."], {"limits": possible}, []
    for number, task in enumerate(tasks):
        if args.task not in (None, number):
            continue
        options = ["--task", str(number), *(["--quick"] if args.quick else [])]
        with TemporaryDirectory() as scratch:
            results = measure(task, tuple(args.only), 1 if args.quick else args.repeats, Path(scratch), options)
        rates = {name: one["rate"] for name, one in results.items() if "rate" in one}
        best = max((rate, name) for name, rate in rates.items() if not name.startswith("r1kit"))
        limit = floor(task, results["r1kit"]["prompt_tokens"], possible["copy"])
        ratios.append((rates["r1kit"], best[0], f"tokens/s, {task.shape} parameters, {task.dtype}"))
        details[f"{task.shape}, {task.dtype}"] = {**results, "memory_bound": limit}
        pages.append(_page(task, results, limit))
        say(pages[-1])
    finish(
        "rollout", *ratios[0], "\n\n".join(pages), details,
        args.quick or args.task is not None or args.only != list(NAMES), more_is_better=True,
    )  # fmt: skip


def _page(task: Task, results: dict[str, Any], limit: float) -> str:
    rows = []
    for name, one in results.items():
        if "failed" in one:
            rows.append([name, f"does not run: {one['failed'][:80]}", *["-"] * 4])
            continue
        ours = results["r1kit"]["rate"]
        rows.append(
            [name, one["rate"], ours / one["rate"], one["rate"] / limit, one["first_token"], one["first_token_again"]]
        )
    head = [f"{task.shape}, {task.prompts * task.answers} x {task.tokens} tokens, {task.dtype}", "tokens/s", "r1kit is",
            "of memory limit", "first token, s", "again, s"]  # fmt: skip
    return table(head, rows) + f"\n\nMemory bandwidth limits this task to {limit:,.0f} tokens/s."


if __name__ == "__main__":
    main()

"""How many tokens a second come out, and how long until the first: vLLM's CPU build, transformers and r1kit.

make bench NAME=rollout

512 answers of 128 tokens from the 3.2M-parameter Qwen2 (32 prompts x 16; fp32, then bf16), and 64 of 64 tokens from the
shape of Qwen2.5-0.5B (4 prompts x 16, bf16), all sampled at temperature 1, none ending early. vLLM knows that 16 answers share
a prompt, has prefix caching, compiles the model, preloads Intel's OpenMP and gets every core; or, as it would choose
itself, leaves one to its scheduler. r1kit returns log-probabilities with the tokens; nobody else is asked for them.

From command to first token is the time from starting Python to one token of one prompt, all imports and weights loaded:
of vLLM with what it compiled before ("again") and without.
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

Generate = Callable[[list[list[int]], int, int], int]  # prompts, answers to each, tokens of each -> tokens written
NAMES = ("r1kit", "vLLM", "vLLM, a core spared", "transformers", "transformers, continuous batching")
CACHE_BYTES = 2 << 30  # vLLM's; more than either task needs


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


def ours(model: Path, dtype: str) -> Generate:
    import torch

    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.native import NativeEngine
    from r1kit.model.hf import load_model, load_tokenizer

    engine = NativeEngine(load_model(model, getattr(torch, dtype), "cpu"), load_tokenizer(model))

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


def transformers(model: Path, dtype: str, continuous: bool = False) -> Generate:
    import torch
    from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

    policy = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))

    def settings(answers: int, tokens: int) -> GenerationConfig:
        return GenerationConfig(
            do_sample=True,
            top_k=0,
            max_new_tokens=tokens,
            num_return_sequences=answers,
            pad_token_id=0,
            eos_token_id=-1,
        )

    @torch.inference_mode()
    def generate(prompts: list[list[int]], answers: int, tokens: int) -> int:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
        written = policy.generate(input_ids=ids, attention_mask=mask, generation_config=settings(answers, tokens))
        return written[:, width:].numel()

    def generate_batch(prompts: list[list[int]], answers: int, tokens: int) -> int:
        repeated = [ids for ids in prompts for _ in range(answers)]
        # Without flash attention every token meets the whole cache, so that must be small. Left to itself it takes
        # most of the machine's memory.
        small = ContinuousBatchingConfig(
            page_size=32, num_blocks=1024, max_requests_per_batch=64, max_batch_tokens=1024
        )
        found = policy.generate_batch(repeated, settings(1, tokens), small)
        return sum(len(one.generated_tokens) for one in found.values())

    return generate_batch if continuous else generate


def contend(name: str, model: Path, task: Task) -> None:
    from r1kit.model.hf import load_tokenizer

    turns = Turns()
    kind, _, variant = name.partition(", ")
    engines = {"r1kit": ours, "vLLM": vllm, "transformers": transformers}
    generate = engines[kind](model, task.dtype, *([True] if variant == "continuous batching" else []))
    tokenizer = load_tokenizer(model)
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in prompt_texts(task.prompts, tokenizer)]
    turns.done(tokens=generate(prompts[:1], 1, 1))
    while True:
        start = time.monotonic()
        tokens = generate(prompts, task.answers, task.tokens)
        seconds = time.monotonic() - start
        turns.done(tokens=tokens, rate=tokens / seconds, prompt_tokens=sum(map(len, prompts)))


def environment(name: str, scratch: Path) -> dict[str, str]:
    """vLLM's documented settings; its compiled code is kept beside the models."""
    if not name.startswith("vLLM"):
        return {}
    openmp = Path(sys.prefix) / "lib" / "libiomp5.so"
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return {
        "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": str(24 * 3600),  # waiting for its turn is no failure
        "VLLM_CPU_OMP_THREADS_BIND": "auto" if "spared" in name else cores,
        "VLLM_CACHE_ROOT": str(scratch / name.replace(", ", "-").replace(" ", "-")),
        **({"LD_PRELOAD": str(openmp)} if openmp.exists() else {}),
    }


def measure(task: Task, names: tuple[str, ...], repeats: int, scratch: Path, options: list[str]) -> dict[str, Any]:
    """Per contender: tokens a second, seconds from command to first token, or why it did not run."""
    model = prepare(task.shape, scratch)
    started: list[Contender] = []
    found: dict[str, dict[str, Any]] = {}

    def start(name: str) -> Contender:
        return worker(__file__, name, "--model", str(model), *options, **environment(name, scratch))

    try:
        for name in names:
            try:
                with start(name) as first:
                    found[name] = {"first_token": first.seconds_to_first}
                started.append(start(name))
                found[name]["first_token_again"] = started[-1].seconds_to_first
                started[-1].turn()  # warms up
            except Failed as error:
                found[name] = {"failed": str(error)}
        for name, turns in alternate([one for one in started if one.process.poll() is None], repeats).items():
            if any(turn["tokens"] < 0.99 * task.prompts * task.answers * task.tokens for turn in turns):
                raise SystemExit(f"{name} did not write all tokens: {turns}")
            found[name]["rate"] = median(turn["rate"] for turn in turns)
            found[name]["prompt_tokens"] = turns[0]["prompt_tokens"]
    finally:
        for one in started:
            one.end()
    return found


def floor(task: Task, prompt_tokens: int, copy_rate: float) -> float:
    """Tokens a second if memory did nothing but bring weights, keys and values to the cores once a step."""
    shape, size = SHAPES[task.shape], {"float32": 4, "bfloat16": 2}[task.dtype]
    rows = task.prompts * task.answers
    per_token = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim
    cached = rows * task.tokens / 2 + prompt_tokens  # an average step's; a prompt's are read once for its answers
    return rows * copy_rate / (size * (shape.parameter_count() + cached * per_token))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--task", type=int, help="only this one of the tasks, counted from 0")
    parser.add_argument("--only", nargs="+", default=list(NAMES), help="contenders; default: all")
    given = parser.parse_args()
    tasks = QUICK if given.quick else FULL
    if given.worker:
        return contend(given.worker, given.model, tasks[given.task])
    possible = limits()
    pages, details, ratios = [f"A copy moves {possible['copy'] / 1e9:.1f} GB/s."], {"limits": possible}, []
    for number, task in enumerate(tasks):
        if given.task not in (None, number):
            continue
        options = ["--task", str(number), *(["--quick"] if given.quick else [])]
        with TemporaryDirectory() as scratch:
            found = measure(task, tuple(given.only), 1 if given.quick else given.repeats, Path(scratch), options)
        rates = {name: one["rate"] for name, one in found.items() if "rate" in one}
        best = max((rate, name) for name, rate in rates.items() if name != "r1kit")
        limit = floor(task, found["r1kit"]["prompt_tokens"], possible["copy"])
        ratios.append((rates["r1kit"], best[0]))
        details[f"{task.shape}, {task.dtype}"] = {**found, "memory_bound": limit}
        pages.append(_page(task, found, limit))
        say(pages[-1])
    finish(
        "rollout", *ratios[0], "tokens/s, 3.2M parameters, fp32", "\n\n".join(pages), details,
        given.quick or given.task is not None or given.only != list(NAMES), more_is_better=True,
    )  # fmt: skip


def _page(task: Task, found: dict[str, Any], limit: float) -> str:
    rows = []
    for name, one in found.items():
        if "failed" in one:
            rows.append([name, f"does not run: {one['failed'][:80]}", *["-"] * 4])
            continue
        ours = found["r1kit"]["rate"]
        rows.append(
            [name, one["rate"], ours / one["rate"], one["rate"] / limit, one["first_token"], one["first_token_again"]]
        )
    head = [f"{task.shape}, {task.prompts * task.answers} x {task.tokens} tokens, {task.dtype}", "tokens/s", "r1kit is",
            "of the memory's limit", "first token, s", "again, s"]  # fmt: skip
    return table(head, rows) + f"\n\nReading weights, keys and values alone would allow {limit:,.0f} tokens/s."


if __name__ == "__main__":
    main()

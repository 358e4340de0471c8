"""Compare supervised training on packed documents in r1kit, TRL and a compiled loop, and with the limit of the CPU.

make bench NAME=sft

The work is steps of 16,384 tokens with a 3.2M-parameter Qwen2: documents of 32 to 512 tokens, packed without padding,
with loss on every token, isolated from each other by r1kit and TRL. All run in fp32 and bf16, and the faster one
counts. "Compiled", a plain loop of torch.compile, scaled_dot_product_attention and fused AdamW, needs a C++ compiler;
its documents see those before them in their row, as in nanochat. Then r1kit runs alone with a 100M-parameter shape; its
flop/s are given as a share of one large matrix product's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from compare import TRL_OPTIONS, Turns, alternate, arguments, best, field, finish, limits, medians, table, without_vllm
from models import SHAPES, prepare

SHORTEST, LONGEST = 32, 512
LIBRARIES = ("r1kit, float32", "r1kit, bfloat16", "TRL, float32", "TRL, bfloat16")
NAMES = (*LIBRARIES, "compiled, float32", "compiled, bfloat16")
STEPS = 1000  # more than any contender takes
EPOCH = 32  # steps per epoch: the last step of a TRL epoch is short
TRL_ROW = 1024  # tokens per pass; TRL is slower with longer rows, as its mask is quadratic
COMPILED_ROWS = 8  # of LONGEST tokens per pass


@dataclass(frozen=True)
class Size:
    shape: str
    tokens: int  # per step
    row: int  # tokens of r1kit's packed rows, and so of a pass


SIZES = {"small": Size("3.2M", 16_384, 4096), "large": Size("100M", 4096, 4096), "quick": Size("3.2M", 2048, 1024)}


def documents(tokens: int, vocabulary: int) -> list[list[int]]:
    """Return random documents with `tokens` tokens in total."""
    random, texts, left = Random(0), [], tokens
    while left > 0:
        length = min(left, random.randint(SHORTEST, LONGEST))
        texts.append([random.randrange(1, vocabulary) for _ in range(length)])
        left -= length
    return texts


def ours(model: Path, size: Size, dtype: str) -> None:
    """Run the training loop of r1kit's sft stage on packed rows."""
    import numpy as np
    import torch

    from r1kit.config import SFT
    from r1kit.data.pack import Document, PackedRow, first_fit, pack
    from r1kit.learn.next_token import answer_loss
    from r1kit.model.hf import load_model
    from r1kit.stages.context import StageContext
    from r1kit.stages.train_loop import Schedule, train

    turns = Turns()
    policy = load_model(model, torch.float32, "cpu")
    texts = [Document(np.array(ids, dtype=np.int32), 1) for ids in documents(size.tokens, policy.config.vocab_size)]
    rows = [pack([texts[i] for i in row]) for row in first_fit([len(text) for text in texts], size.row)]

    def source(done: int) -> Iterator[list[PackedRow]]:
        for step in range(STEPS):
            start = time.monotonic()
            yield rows
            seconds = time.monotonic() - start
            if step:  # the first is a warm-up
                turns.done(rate=size.tokens / seconds)

    with TemporaryDirectory() as directory:
        context = StageContext("sft", Path(directory), 0, dtype, "cpu", 512, {"policy": model})
        config = SFT(kind="sft", model="policy", data=["given"])
        train(policy, config, context, Schedule(STEPS, 1, STEPS), source, answer_loss)


def trl(model: Path, size: Size, dtype: str) -> None:
    """Run TRL with its best-fit packing: rows without padding, documents separated by their position ids."""
    without_vllm()
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from r1kit.model.hf import load_tokenizer

    turns = Turns()

    class Paced(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start, self.before = time.monotonic(), trainer._total_train_tokens

        def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            seconds, tokens = time.monotonic() - self.start, trainer._total_train_tokens - self.before
            if state.global_step > 1:
                turns.done(rate=tokens / seconds)

    texts = documents(EPOCH * size.tokens, SHAPES[size.shape].vocab_size)
    config = SFTConfig(
        output_dir=str(model.parent / "trl"),
        packing=True,
        max_length=TRL_ROW,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=size.tokens // TRL_ROW,
        max_steps=STEPS,
        bf16=dtype == "bfloat16",
        **TRL_OPTIONS,
    )
    trainer = SFTTrainer(
        model=str(model),
        args=config,
        train_dataset=Dataset.from_list([{"input_ids": ids} for ids in texts]),
        processing_class=load_tokenizer(model),
        callbacks=[Paced()],
    )
    trainer.train()


def compiled(model: Path, size: Size, dtype: str) -> None:
    """Train with torch.compile on rows of LONGEST tokens; in bfloat16 by autocast."""
    import torch
    import torch.nn.functional as F
    from transformers import AutoModelForCausalLM

    turns = Turns()
    policy = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa")
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5, fused=True)
    ids = torch.tensor([*chain.from_iterable(documents(size.tokens, policy.config.vocab_size))])
    rows = ids[: len(ids) // LONGEST * LONGEST].view(-1, LONGEST)

    @torch.compile
    def loss(rows_BT: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            logits_BTV = policy(input_ids=rows_BT, use_cache=False).logits
        return F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1).float(), rows_BT[:, 1:].flatten())

    for step in range(STEPS):
        start = time.monotonic()
        for part in rows.split(COMPILED_ROWS):
            (loss(part) * len(part) / len(rows)).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.monotonic() - start
        if step:  # the first compiles
            turns.done(rate=rows.numel() / seconds)


def contend(names: tuple[str, ...], size: str, repeats: int) -> dict[str, dict[str, float]]:
    """Return the medians of each contender."""
    with TemporaryDirectory() as directory:
        model = prepare(SIZES[size].shape, Path(directory))
        with field(__file__, names, "--model", str(model), "--size", size) as started:
            return {name: medians(turns) for name, turns in alternate(started, repeats).items()}


def flop_per_token(size: Size) -> float:
    """Return the flop of matrix products, forward and backward: six per weight, plus attention within documents."""
    shape = SHAPES[size.shape]
    lengths = [len(ids) for ids in documents(size.tokens, shape.vocab_size)]
    context = sum(n * n for n in lengths) / sum(lengths) / 2  # mean number of tokens that a token attends to
    attention = 2 * shape.num_hidden_layers * shape.num_attention_heads * shape.head_dim * context
    return 6 * (shape.parameter_count() + attention)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--size", choices=SIZES)
    args = parser.parse_args()
    if args.worker:
        who, _, dtype = args.worker.partition(", ")
        return {"r1kit": ours, "TRL": trl, "compiled": compiled}[who](args.model, SIZES[args.size], dtype)
    repeats = 1 if args.quick else args.repeats
    results = contend(NAMES, "quick" if args.quick else "small", repeats)
    mine, peer = (best(results, who, "rate", max)[1]["rate"] for who in ("r1kit", "TRL"))
    rows = [[name, one["rate"], mine / one["rate"], one["peak_bytes"] / 1e6] for name, one in results.items()]
    page = table(["3.2M parameters", "tokens/s", "best r1kit is", "peak MB"], rows)
    details: dict[str, Any] = {"small": results}
    if not args.quick:
        details["large"] = large = contend(NAMES[:2], "large", max(2, repeats // 2))
        details["limits"] = limits()
        page += "\n\n" + _against_limit(large, details["limits"])
    finish(
        "sft", mine, peer, "tokens/s, 3.2M parameters", page, details, args.quick,
        more_is_better=True,
    )  # fmt: skip


def _against_limit(large: dict[str, dict[str, float]], possible: dict[str, float]) -> str:
    rows = []
    for name, one in large.items():
        reached, limit = one["rate"] * flop_per_token(SIZES["large"]) / 1e9, possible[name.partition(", ")[2]] / 1e9
        rows.append([name, one["rate"], reached, limit, f"{reached / limit:.0%}", one["peak_bytes"] / 1e6])
    return table(["100M parameters", "tokens/s", "GFLOP/s", "matrix product", "share", "peak MB"], rows)


if __name__ == "__main__":
    main()

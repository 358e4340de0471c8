"""Measure how close generation and training on a CPU are to the limits of the machine.

python benchmarks/roofline.py [--shapes 3.2M] [--threads 1] [--fall-back]

The limits are measured first: the highest rate of a matrix product in each dtype, and the rate at which memory is read.
An operation takes at least the time of its arithmetic or of its bytes, whichever is longer, and a phase the sum over
its operations: products, attention to visible keys, the logits that sampling reads, AdamW's state. Elementwise work is
not counted, because it could be fused into these. "Products alone" is the time of the phase's products by themselves.

With one thread, seconds of the processor are measured, which other programs affect less. Weights are random. The extra
`fast` is used if it is installed; `--fall-back` measures torch without it.
"""

from __future__ import annotations

import argparse
import json
import mmap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from compare import table
from machine import describe, today
from models import prepare

from r1kit.machine import tune_allocator
from r1kit.model.config import ModelConfig

BYTES = {"float32": 4, "bfloat16": 2}
ADAM_BYTES = 28  # of a weight in fp32: reads it, its gradient and two moments, writes all but the gradient
LARGE = 2**26  # elements that exceed every cache


@dataclass(frozen=True)
class Size:
    """What is measured of a shape. Prompts and documents have `length` tokens."""

    dtypes: tuple[str, ...]
    prompts: int
    answers: int  # completions of a prompt
    length: int
    tokens: int  # of a completion, in generation
    trained: int  # of a completion, in an update
    documents: int
    repeats: int


SIZES = {
    "3.2M": Size(("float32", "bfloat16"), 32, 16, 96, 128, 64, 128, 2),
    "135M": Size(("bfloat16",), 8, 16, 96, 16, 8, 8, 1),
    "0.5B": Size(("bfloat16",), 4, 16, 96, 16, 4, 4, 1),
}


@dataclass(frozen=True)
class Work:
    """Arithmetic in a dtype, and memory that is read or written once."""

    flop: float
    bytes: float
    dtype: str


@dataclass(frozen=True)
class Product:
    """A product [rows, inner] x [inner, outer], computed `count` times."""

    rows: int
    inner: int
    outer: int
    count: int
    dtype: str

    @property
    def work(self) -> Work:
        elements = self.inner * self.outer + self.rows * (self.inner + self.outer)
        flop = 2 * self.rows * self.inner * self.outer
        return Work(self.count * flop, self.count * elements * BYTES[self.dtype], self.dtype)


@dataclass(frozen=True)
class Phase:
    """A measured part of a run, and the least that it has to do."""

    name: str
    seconds: float
    products: Sequence[Product]
    others: Sequence[Work]
    packed: bool  # whether products have packed weights, as in generation


class Machine:
    """The clock, and the limits that it has measured."""

    def __init__(self, threads: int) -> None:
        import torch

        self.clock = time.process_time if threads == 1 else time.perf_counter
        x, y = torch.ones(LARGE), torch.empty(LARGE)
        self.read = x.nbytes / self.seconds(x.sum, 7)
        self.copy = 2 * x.nbytes / self.seconds(lambda: y.copy_(x), 7)
        self.new_pages = 2**28 / self.seconds(_touch_pages, 5)
        self.flops = dict.fromkeys(BYTES, 0.0)  # the highest rate of all products measured
        for dtype in BYTES:
            self.product_seconds(Product(2048, 2048, 2048, 1, dtype), packed=True)

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Return the median of the seconds of some calls, after a warm-up."""
        return median([self._once(work) for _ in range(repeats + 1)][1:])

    def _once(self, work: Callable[[], object]) -> float:
        start = self.clock()
        work()
        return self.clock() - start

    def product_seconds(self, product: Product, packed: bool) -> float:
        """Return the seconds of all `count` times of a product, with weights in oneDNN's layout or in torch's."""
        import torch
        import torch.nn.functional as F

        dtype, flop = getattr(torch, product.dtype), product.work.flop / product.count
        x = torch.randn(product.rows, product.inner).to(dtype)
        weight = torch.randn(product.outer, product.inner).to(dtype)
        if packed:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight)
            multiply = lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")  # noqa: E731
        else:
            multiply = lambda: F.linear(x, weight)  # noqa: E731
        seconds = self.seconds(multiply, 3 if flop > 2**33 else 9)
        self.flops[product.dtype] = max(self.flops[product.dtype], flop / seconds)
        return product.count * seconds

    def limit(self, phase: Phase) -> float:
        """Return the least seconds that a phase can take."""
        works = [*(product.work for product in phase.products), *phase.others]
        return sum(max(work.flop / self.flops[work.dtype], work.bytes / self.read) for work in works)


def _touch_pages() -> None:
    """Touch 256 MB of memory that the system has not given out before."""
    with mmap.mmap(-1, 2**28) as memory:
        memory[:: mmap.PAGESIZE] = bytes(2**28 // mmap.PAGESIZE)


# -- work -------------------------------------------------------------------------------------------------------------


def layers(shape: ModelConfig, rows: int, dtype: str, passes: int = 1) -> list[Product]:
    """Return the products of all layers; a forward and backward pass takes three times those of a forward pass."""
    width, inner = shape.hidden_size, shape.intermediate_size
    heads, kv_heads = (count * shape.head_dim for count in (shape.num_attention_heads, shape.num_key_value_heads))
    pairs = [(width, heads + 2 * kv_heads), (heads, width), (width, 2 * inner), (inner, width)]
    return [Product(rows, *pair, passes * shape.num_hidden_layers, dtype) for pair in pairs]


def head(shape: ModelConfig, rows: int, dtype: str, passes: int = 1) -> Product:
    return Product(rows, shape.hidden_size, shape.vocab_size, passes, dtype)


def attention(shape: ModelConfig, pairs: float, keys: float, dtype: str) -> Work:
    """Return the work of all layers: `pairs` of a query and a visible key, and `keys` that are read once."""
    flop = 4 * shape.num_hidden_layers * shape.num_attention_heads * shape.head_dim * pairs
    elements = 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim * keys
    return Work(flop, elements * BYTES[dtype], dtype)


def causal_pairs(tokens: int) -> float:
    return tokens * (tokens + 1) / 2


def training(
    shape: ModelConfig, dtype: str, tokens: int, losses: int, pairs: float
) -> tuple[list[Product], list[Work]]:
    """Return the work of training on so many tokens, with a loss on `losses`: logits are computed in fp32."""
    products = [*layers(shape, tokens, dtype, 3), head(shape, losses, "float32"), head(shape, losses, dtype, 2)]
    return products, [attention(shape, 3 * pairs, 0, dtype), Work(0, ADAM_BYTES * shape.parameter_count(), "float32")]


# -- measurements -----------------------------------------------------------------------------------------------------


def random_ids(shape: ModelConfig, rows: int, tokens: int) -> Any:
    """Return token ids [rows, tokens]."""
    import torch

    return torch.randint(1, shape.vocab_size, (rows, tokens), generator=torch.Generator().manual_seed(0))


def generation(machine: Machine, model: Any, tokenizer: Any, size: Size, dtype: str) -> Iterator[Phase]:
    """Measure the prefill of prompts without a common prefix, and decode steps of their completions."""
    from r1kit.engine import blocks
    from r1kit.engine.base import Request, SamplingParams
    from r1kit.engine.cache import KVCache
    from r1kit.engine.native import NativeEngine
    from r1kit.model.fused.support import can_fuse

    shape, rows, prompt_tokens = model.config, size.prompts * size.answers, size.prompts * size.length
    engine = NativeEngine(model, tokenizer)
    requests = [
        Request(str(i), tuple(ids), size.answers)
        for i, ids in enumerate(random_ids(shape, size.prompts, size.length).tolist())
    ]
    if can_fuse(model.head_weight):
        from r1kit.engine.fused import blocks as fused_blocks

        attend: tuple[Any, str] = (fused_blocks, "_attend")
    else:
        attend = (KVCache, "__call__")

    def seconds(tokens: int) -> float:
        return machine.seconds(lambda: engine.generate(requests, SamplingParams(0, tokens)), size.repeats)

    first, steps = seconds(1), size.tokens - 1
    step = (seconds(size.tokens) - first) / steps
    with timed(machine, *attend) as attending, timed(machine, blocks, "sample") as sampling:
        engine.generate(requests, SamplingParams(0, size.tokens))
    prefill = attention(shape, size.prompts * causal_pairs(size.length), prompt_tokens, dtype)
    yield Phase("prefill, with packing", first, layers(shape, prompt_tokens, dtype), [prefill], packed=True)
    own = size.tokens / 2  # the mean over steps
    attended = attention(shape, rows * (own + size.length), rows * own + prompt_tokens, dtype)
    logits = Work(0, BYTES["float32"] * rows * shape.vocab_size, "float32")
    products = [*layers(shape, rows, dtype), head(shape, rows, "float32")]
    yield Phase("decode step", step, products, [attended, logits], packed=True)
    yield Phase("of it attention", sum(attending) / steps, [], [attended], packed=True)
    yield Phase("of it sampling", sum(sampling) / size.tokens, [], [logits], packed=True)


@contextmanager
def timed(machine: Machine, owner: Any, name: str) -> Iterator[list[float]]:
    """Yield the list of the seconds of every call of a function."""
    function, spent = getattr(owner, name), []

    def run(*args: Any, **kwargs: Any) -> Any:
        start = machine.clock()
        result = function(*args, **kwargs)
        spent.append(machine.clock() - start)
        return result

    setattr(owner, name, run)
    try:
        yield spent
    finally:
        setattr(owner, name, function)


def update_step(model: Any, size: Size) -> Callable[[], object]:
    """Return a function that updates the policy on random completions, without reference model."""
    import torch

    from r1kit.config import RL
    from r1kit.learn.batch import make_batch
    from r1kit.learn.learner import Learner
    from r1kit.types import Completion

    shape, rows = model.config, size.prompts * size.answers
    learner = Learner(model, RL(kind="rl", model="policy", prompts=["world:arithmetic"], beta=0, steps=100))
    ids = random_ids(shape, rows, size.trained).tolist()
    sampled = [Completion(str(i), 0, tuple(row), (-6.0,) * len(row), "", "length") for i, row in enumerate(ids)]
    groups = [sampled[i : i + size.answers] for i in range(0, rows, size.answers)]
    prompts = random_ids(shape, size.prompts, size.length).tolist()
    advantages_PG = torch.randn(size.prompts, size.answers, generator=torch.Generator().manual_seed(0))
    batch = make_batch(prompts, groups, advantages_PG, temperature=1.0, mask_truncated=False)
    return lambda: learner.step(batch, 0)


def supervised_step(master: Any, size: Size, dtype: str) -> Callable[[], object]:
    """Return a function that trains fp32 weights on packed documents."""
    import numpy as np
    import torch

    from r1kit.config import SFT
    from r1kit.data.pack import Document, first_fit, pack
    from r1kit.learn.next_token import answer_loss
    from r1kit.learn.optim import make_optimizer
    from r1kit.learn.precision import compute_copy
    from r1kit.learn.world import ALONE
    from r1kit.stages.train_loop import TrainState, _step

    shape, config = master.config, SFT(kind="sft", model="policy", data=["given"])
    texts = [Document(np.array(ids, np.int32), 1) for ids in random_ids(shape, size.documents, size.length).tolist()]
    rows = [pack([texts[i] for i in row]) for row in first_fit([len(text) for text in texts], 4096)]
    model = compute_copy(master, getattr(torch, dtype))
    state = TrainState(master, model, make_optimizer(master, config), ALONE)
    return lambda: _step(state, rows, answer_loss, 1e-5, 1.0)


def update(machine: Machine, model: Any, size: Size, dtype: str) -> Phase:
    """Measure an update of the policy."""
    seconds = machine.seconds(update_step(model, size), size.repeats)
    rows, continued = size.prompts * size.answers, size.trained - 1  # nothing follows a last token
    pairs = size.prompts * causal_pairs(size.length) + rows * (continued * size.length + causal_pairs(continued))
    tokens = size.prompts * size.length + rows * continued
    return Phase("update", seconds, *training(model.config, dtype, tokens, rows * size.trained, pairs), packed=False)


def supervised(machine: Machine, master: Any, size: Size, dtype: str) -> Phase:
    """Measure a step of supervised training."""
    seconds = machine.seconds(supervised_step(master, size, dtype), size.repeats)
    tokens, losses = size.documents * size.length, size.documents * (size.length - 1)
    work = training(master.config, dtype, tokens, losses, size.documents * causal_pairs(size.length))
    return Phase("supervised step", seconds, *work, packed=False)


def phases(machine: Machine, path: Path, size: Size, dtype: str) -> Iterator[Phase]:
    """Measure all phases of one shape."""
    import torch

    from r1kit.model.hf import load_model, load_tokenizer

    yield from generation(machine, load_model(path, getattr(torch, dtype), "cpu"), load_tokenizer(path), size, dtype)
    yield update(machine, load_model(path, getattr(torch, dtype), "cpu"), size, dtype)
    yield supervised(machine, load_model(path, torch.float32, "cpu"), size, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fall-back", action="store_true", help="compute with torch, as without the extra `fast`")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test that the benchmark runs")
    args = parser.parse_args()
    tune_allocator()
    import torch

    from r1kit.model.fused import support

    if args.fall_back:
        support.why_not = lambda: "--fall-back"
    torch.set_num_threads(args.threads)
    machine, measured = Machine(args.threads), []
    for shape in args.shapes:
        size = replace(SIZES[shape], prompts=2, answers=2, tokens=4, documents=2) if args.quick else SIZES[shape]
        with TemporaryDirectory() as scratch:
            path = prepare(shape, Path(scratch))
            for dtype in size.dtypes:
                for phase in phases(machine, path, size, dtype):
                    alone = sum(machine.product_seconds(product, phase.packed) for product in phase.products)
                    measured.append((shape, dtype, phase, alone))
    rates = {"read": machine.read, "copy": machine.copy, "new pages": machine.new_pages, **machine.flops}
    results = []
    for shape, dtype, phase, alone in measured:  # only now is the highest rate of a product known
        limit = machine.limit(phase)
        results.append({"shape": f"{shape}, {dtype}", "phase": phase.name, "ms": 1e3 * phase.seconds,
                        "products alone, ms": 1e3 * alone, "limit, ms": 1e3 * limit,
                        "of the limit": f"{limit / phase.seconds:.0%}"})  # fmt: skip
    print(f"{describe()}, {args.threads} threads, {today()}, decode steps "
          f"{'by torch: ' + reason if (reason := support.why_not()) else 'fused'}. "
          + ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in rates.items()) + " (GB/s, GFLOP/s)\n")  # fmt: skip
    print(table([*results[0]], [[*row.values()] for row in results]))
    print(json.dumps({"bench": "roofline", **vars(args), "rates": rates, "phases": results, "machine": describe(),
                      "date": today()}))  # fmt: skip


if __name__ == "__main__":
    main()

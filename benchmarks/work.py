"""The work of phases, and the least time that a machine needs for it.

The limits of the machine are measured first: the highest rate of a matrix product in each dtype, and the rate at which
memory is read. An operation takes at least the time of its arithmetic or of its bytes, whichever is longer, and a phase
the sum over its operations: products, attention to visible keys, the logits that sampling reads, AdamW's state.
Elementwise work is not counted, because it could be fused into these.

With one thread, seconds of the processor are measured, which other programs affect less.
"""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from r1kit.model.config import ModelConfig

BYTES = {"float32": 4, "bfloat16": 2}
ADAM_BYTES = 28  # of a weight in fp32: reads it, its gradient and two moments, writes all but the gradient
LARGE = 2**26  # elements that exceed every cache


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
    times: int = 1  # equal steps that it consists of

    @property
    def works(self) -> list[Work]:
        return [*(product.work for product in self.products), *self.others]


class Machine:
    """The clock, and the limits that it has measured."""

    def __init__(self, threads: int, enough: float = math.inf) -> None:
        """Measure the limits. A call that takes more than `enough` seconds is measured once."""
        import torch

        torch.set_num_threads(threads)
        self.clock, self.enough = time.process_time if threads == 1 else time.perf_counter, enough
        x, y = torch.ones(LARGE), torch.empty(LARGE)
        self.read = x.nbytes / self.fastest(x.sum)
        self.copy = 2 * x.nbytes / self.fastest(lambda: y.copy_(x))
        self.new_pages = 2**28 / self.fastest(_touch_pages)
        self.flops = dict.fromkeys(BYTES, 0.0)  # the highest rate of all products measured
        for dtype in BYTES:
            self.product_seconds(Product(2048, 2048, 2048, 1, dtype), packed=True)

    @property
    def rates(self) -> dict[str, float]:
        """The limits in bytes or operations per second."""
        return {"read": self.read, "copy": self.copy, "new pages": self.new_pages, **self.flops}

    def fastest(self, work: Callable[[], object]) -> float:
        """Return the least seconds of eight calls."""
        return min(self._once(work, ())[0] for _ in range(8))

    def seconds(self, work: Callable[[], object], repeats: int) -> float:
        """Return the median of the seconds of some calls, after a warm-up."""
        return self.spent(work, repeats)[0]

    def spent(self, work: Callable[[], object], repeats: int, *parts: tuple[Any, str]) -> list[float]:
        """Return the seconds of `work`, and of all calls of each part within it: (owner, name) of a function.

        They are medians of some calls after a warm-up, or those of one call if the warm-up takes long enough.
        """
        warm_up, *_ = self._once(work, parts)
        calls = [self._once(work, parts) for _ in range(repeats if warm_up < self.enough else 1)]
        return [median(each) for each in zip(*calls, strict=True)]

    def _once(self, work: Callable[[], object], parts: Sequence[tuple[Any, str]]) -> list[float]:
        with ExitStack() as stack:
            inside = [stack.enter_context(_timed(self, *part)) for part in parts]
            start = self.clock()
            work()
            total = self.clock() - start
        return [total, *map(sum, inside)]

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
        return sum(max(work.flop / self.flops[work.dtype], work.bytes / self.read) for work in phase.works)


@contextmanager
def _timed(machine: Machine, owner: Any, name: str) -> Iterator[list[float]]:
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


def _touch_pages() -> None:
    """Touch 256 MB of memory that the system has not given out before."""
    with mmap.mmap(-1, 2**28) as memory:
        memory[:: mmap.PAGESIZE] = bytes(2**28 // mmap.PAGESIZE)


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


def training(shape: ModelConfig, dtype: str, tokens: int, losses: int, pairs: float) -> tuple[list[Product], Work]:
    """Return the products and attention of training on so many tokens, `losses` of them with logits in fp32."""
    products = [*layers(shape, tokens, dtype, 3), head(shape, losses, "float32"), head(shape, losses, dtype, 2)]
    return products, attention(shape, 3 * pairs, 0, dtype)


def adam(shape: ModelConfig) -> Work:
    return Work(0, ADAM_BYTES * shape.parameter_count(), "float32")

"""Measure how close generation and training on a CPU are to the limits of the machine.

python benchmarks/roofline.py [--shapes 3.2M] [--threads 1] [--fall-back]

work.py says how limits are measured and work is counted. "Products alone" is the time of the phase's products by
themselves; a step's share where a phase consists of equal steps. The extra `fast` is used if it is installed;
`--fall-back` measures torch without it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace

from compare import table
from machine import describe, today
from models import SHAPES, build
from phases import Size, generation, supervised, update
from work import Machine, Phase

from r1kit.machine import tune_allocator
from r1kit.model.config import ModelConfig

SIZES = {
    "3.2M": Size(32, 16, 96, 128, 64, 128, 96, 2),
    "135M": Size(8, 16, 96, 16, 8, 8, 96, 1),
    "0.5B": Size(4, 16, 96, 16, 4, 4, 96, 1),
}
DTYPES = {"3.2M": ("float32", "bfloat16")}  # of other shapes bfloat16


def phases(machine: Machine, shape: ModelConfig, size: Size, dtype: str) -> Iterator[Phase]:
    """Measure all phases of one shape."""
    model = build(shape, dtype)
    yield from generation(machine, model, size, dtype)
    yield from update(machine, model, size, dtype)
    del model  # with the weights in fp32 that the update made
    yield supervised(machine, build(shape, "float32"), size, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fall-back", action="store_true", help="compute with torch, as without the extra `fast`")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test that the benchmark runs")
    args = parser.parse_args()
    tune_allocator()
    from r1kit.model.fused import support

    if args.fall_back:
        support.why_not = lambda: "--fall-back"
    machine, measured = Machine(args.threads), []
    for name in args.shapes:
        tiny = {"prompts": 2, "answers": 2, "tokens": 4, "documents": 2} if args.quick else {}
        size = replace(SIZES[name], **tiny)
        for dtype in DTYPES.get(name, ("bfloat16",)):
            for phase in phases(machine, SHAPES[name], size, dtype):
                alone = sum(machine.product_seconds(product, phase.packed) for product in phase.products)
                measured.append((name, dtype, phase, alone))
    results = []
    for name, dtype, phase, alone in measured:  # only now is the highest rate of a product known
        limit, ms = machine.limit(phase), 1e3 / phase.times
        results.append({"shape": f"{name}, {dtype}", "phase": phase.name, "times": phase.times,
                        "ms": ms * phase.seconds, "products alone, ms": ms * alone, "limit, ms": ms * limit,
                        "of the limit": f"{limit / phase.seconds:.0%}"})  # fmt: skip
    rates = machine.rates
    print(f"{describe()}, {args.threads} threads, {today()}, decode steps "
          f"{'by torch: ' + reason if (reason := support.why_not()) else 'fused'}. "
          + ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in rates.items()) + " (GB/s, GFLOP/s)\n")  # fmt: skip
    print(table([*results[0]], [[*row.values()] for row in results]))
    print(json.dumps({"bench": "roofline", **vars(args), "rates": rates, "phases": results, "machine": describe(),
                      "date": today()}))  # fmt: skip


if __name__ == "__main__":
    main()

"""Measure how each phase grows with completions, length, vocabulary and parameters: the share of the machine's limit.

make bench NAME=growth, or python benchmarks/growth.py [--quick] [--axes completions] [--threads 1]

One size varies at a time. roofline.py's phases are measured at every point, and the least time that the machine needs
for their counted work (work.py). A phase does not grow faster than its work if its share of that limit does not fall
towards the largest point. The exponent says the same of the last two points: 1.0 is time that grows as the work.

The memory of a rollout is the peak of the process above what it held before the model was made. Models have random
weights in the dtype that `r1kit doctor` chooses. Calls of two seconds and more are measured once. The plot is written
to docs/growth.svg.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from compare import ROOT, finish, say, table
from models import SHAPES, build
from phases import Size, generation, supervised, update
from work import BYTES, Machine, Phase

from r1kit.machine import choose_dtype, free_memory, limited_memory, memory_bytes, tune_allocator
from r1kit.model.config import ModelConfig
from r1kit.plan.memory import _packed_bytes, token_cache_bytes

SHAPE = replace(SHAPES["3.2M"], max_position_embeddings=8192)
SIZE = Size(prompts=8, answers=16, length=96, tokens=16, trained=8, documents=8, document=96, repeats=3)
ENOUGH = 2.0  # seconds of a call that is measured once
TRAINING_BYTES = 18  # of a weight: in bfloat16, and in fp32 itself, its gradient and AdamW's two moments
MEMORY_SHARE = 0.75  # of the machine's memory that training may need
STEEP = 1.1  # exponents above are marked
FALL = 1.25  # factor by which a share may fall from the smallest point to the largest


@dataclass(frozen=True)
class Point:
    """The sizes of one measurement."""

    shape: ModelConfig
    size: Size


def completions(count: int) -> Point:
    prompts = max(1, count // SIZE.answers)
    return Point(SHAPE, replace(SIZE, prompts=prompts, documents=prompts))


def tokens(count: int) -> Point:
    return Point(SHAPE, replace(SIZE, prompts=1, tokens=count, trained=count, documents=4, document=count))


def vocabulary(count: int) -> Point:
    return Point(replace(SHAPE, vocab_size=count), SIZE)


def parameters(name: str) -> Point:
    return Point(SHAPES[name], replace(SIZE, prompts=1, tokens=8, trained=4, documents=1))


@dataclass(frozen=True)
class Axis:
    """The values of one size, and what is measured at each."""

    point: Callable[..., Point]
    values: Sequence[int | str]
    quick: Sequence[int | str]


AXES = {
    "completions": Axis(completions, (64, 512, 2048, 8192), (16, 64)),
    "tokens per completion": Axis(tokens, (32, 256, 1024, 4096), (8, 32)),
    "vocabulary": Axis(vocabulary, (768, 8192, 32_768, 151_936), (768, 8192)),
    "parameters": Axis(parameters, ("0.9M", "19M", "135M", "0.5B", "1.5B"), ("0.9M", "3.2M")),
}


@dataclass(frozen=True)
class Growth:
    """A phase at every point of an axis where it was measured."""

    seconds: Sequence[float]
    limits: Sequence[float]

    @property
    def shares(self) -> list[float]:
        return [limit / seconds for limit, seconds in zip(self.limits, self.seconds, strict=True)]

    @property
    def fall(self) -> float:
        """The share at the smallest point over the share at the largest."""
        return self.shares[0] / self.shares[-1]

    @property
    def exponent(self) -> float | None:
        """The exponent of time against work between the last two points; None if the work hardly differs."""
        work, time = self.limits[-1] / self.limits[-2], self.seconds[-1] / self.seconds[-2]
        return math.log(time) / math.log(work) if work > 1.2 else None


@dataclass(frozen=True)
class Memory:
    """Bytes of a rollout: the measured peak, and what it must hold."""

    peak: int
    weights: int
    cache: int
    """Keys and values of all tokens of the completions that are decoded together, a prompt's once for its group."""
    packed: int
    """Copies of matrices in oneDNN's layout."""
    logits: int
    """Of one step, in fp32."""

    @property
    def ratio(self) -> float:
        return self.peak / (self.weights + self.cache)

    @property
    def ratio_of_all(self) -> float:
        return self.peak / (self.weights + self.cache + self.packed + self.logits)


def resident(field: str) -> int:
    """Return bytes of this process: VmRSS, or VmHWM, the peak since `forget_peak`."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure(machine: Machine, point: Point, dtype: str) -> tuple[list[Phase], Memory]:
    """Measure the phases of a point and the memory of its rollout."""
    shape, size, b = point.shape, point.size, BYTES[dtype]
    free_memory()
    before = resident("VmRSS")
    model = build(shape, dtype)
    free_memory()
    forget_peak()
    measured = list(generation(machine, model, size, dtype))
    shared = size.rows // size.answers * size.length
    memory = Memory(
        peak=resident("VmHWM") - before,
        weights=sum(weight.nbytes for weight in model.parameters()),
        cache=token_cache_bytes(shape, b) * (size.rows * size.tokens + shared),
        packed=_packed_bytes(shape, b),
        logits=BYTES["float32"] * size.rows * shape.vocab_size,
    )
    fits = TRAINING_BYTES * shape.parameter_count() < MEMORY_SHARE * memory_bytes()
    measured += update(machine, model, size, dtype, complete=fits)
    del model  # with the weights in fp32 that the update made
    if fits:
        free_memory()
        measured.append(supervised(machine, build(shape, "float32"), size, dtype))
    return measured, memory


def growths(points: Sequence[Sequence[Phase]], machine: Machine) -> Iterator[tuple[str, Growth]]:
    """Yield the phases of an axis by name. Where one was not measured, the axis ends for it."""
    for name in (phase.name for phase in points[0]):
        found = [phase for phases in points for phase in phases if phase.name == name]
        yield name, Growth([phase.seconds for phase in found], [machine.limit(phase) for phase in found])


def growth_table(axis: str, values: Sequence[int | str], grown: Mapping[str, Growth]) -> str:
    rows = []
    for name, growth in grown.items():
        triples = zip(growth.limits, growth.seconds, growth.shares, strict=True)
        cells = [f"{_ms(limit)} / {_ms(seconds)} = {share:.0%}" for limit, seconds, share in triples]
        cells += ["does not fit"] * (len(values) - len(cells))
        rows.append([name, *cells, _marked(growth.exponent, STEEP), _marked(growth.fall, FALL)])
    labels = [value if isinstance(value, str) else f"{value:,}" for value in values]
    return table([f"{axis}: limit / measured ms", *labels, "exponent", "share falls by"], rows)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def _marked(value: float | None, limit: float) -> str:
    if value is None:
        return "-"
    return f"**{value:.2f}**" if value > limit else f"{value:.2f}"


def memory_table(memories: Mapping[str, Mapping[int | str, Memory]]) -> str:
    head = ["MB of a rollout", "peak", "weights", "live keys and values", "peak / both", "packed copies", "logits",
            "peak / all four"]  # fmt: skip
    rows = []
    for axis, points in memories.items():
        for value, m in points.items():
            sizes = [f"{size / 1e6:,.1f}" for size in (m.peak, m.weights, m.cache, m.packed, m.logits)]
            label = value if isinstance(value, str) else f"{value:,}"
            rows.append([f"{axis}: {label}", *sizes[:3], m.ratio, *sizes[3:], m.ratio_of_all])
    return table(head, rows)


def plot(axes: Mapping[str, Mapping[str, Growth]], xs: Mapping[str, Sequence[int]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(axes), figsize=(3.2 * len(axes), 3.6), layout="constrained", sharey=True)
    for panel, (axis, grown) in zip(panels, axes.items(), strict=True):
        for name, growth in grown.items():
            label = name.removeprefix("of it ").removeprefix("of them ")
            panel.plot(xs[axis][: len(growth.shares)], growth.shares, ".-", label=label, linewidth=1)
        panel.set(xlabel=axis, xscale="log", ylim=(0, None))
    panels[0].set_ylabel("share of the machine's limit")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: test that the benchmark runs")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="other figures are not saved")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    tune_allocator()
    machine, dtype = Machine(args.threads, ENOUGH), choose_dtype("cpu")
    with limited_memory():
        measure(machine, completions(16), dtype)  # compiles the kernels
        measured = {axis: _measure_axis(axis, machine, dtype, args.quick) for axis in args.axes}
    pages, details, falls, grown = [_rates(machine, args.threads, dtype)], [], [], {}
    for axis, points in measured.items():
        grown[axis] = dict(growths([phases for phases, _ in points.values()], machine))
        pages.append(growth_table(axis, list(points), grown[axis]))
        falls += [growth.fall for growth in grown[axis].values()]
        for name, growth in grown[axis].items():
            details.append({"axis": axis, "values": [*points], "phase": name, **asdict(growth), "shares": growth.shares,
                            "exponent": growth.exponent, "fall": growth.fall})  # fmt: skip
    memories = {axis: {value: memory for value, (_, memory) in points.items()} for axis, points in measured.items()}
    pages.append(memory_table(memories))
    partial = args.quick or args.axes != list(AXES)
    if not partial:
        xs = {axis: [_place(AXES[axis], value) for value in points] for axis, points in measured.items()}
        plot(grown, xs, ROOT / "docs" / "growth.svg")
        pages.append("![Shares of the machine's limit along each axis](growth.svg)")
    kept = {axis: {str(value): asdict(memory) for value, memory in one.items()} for axis, one in memories.items()}
    finish(
        "growth", max(falls), FALL, "share of the limit at the smallest point / at the largest, at most",
        "\n\n".join(pages), {"rates": machine.rates, "phases": details, "memory": kept}, partial, more_is_better=False,
    )  # fmt: skip


def _measure_axis(axis: str, machine: Machine, dtype: str, quick: bool) -> dict[int | str, tuple[list[Phase], Memory]]:
    points = {}
    for value in AXES[axis].quick if quick else AXES[axis].values:
        points[value] = measure(machine, AXES[axis].point(value), dtype)
        phases = ", ".join(f"{phase.name} {phase.seconds:.3g} s" for phase in points[value][0])
        say(f"{axis} = {value}: {phases}, {points[value][1].peak / 1e6:.0f} MB")
    return points


def _place(axis: Axis, value: int | str) -> int:
    """Return the number that a value stands for in the plot."""
    return value if isinstance(value, int) else axis.point(value).shape.parameter_count()


def _rates(machine: Machine, threads: int, dtype: str) -> str:
    rates = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in machine.rates.items())
    return f"{dtype}, {threads} threads; {rates} (GB/s, GFLOP/s)."


if __name__ == "__main__":
    main()

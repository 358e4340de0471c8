"""The plan of a cluster as text."""

from __future__ import annotations

from collections.abc import Sequence

from r1kit.plan.cluster import ClusterPlan, StageCost
from r1kit.plan.hours import PEAK_SHARE
from r1kit.plan.units import show_bytes, size
from r1kit.plan.work import MEAN_SHARE

HEAD = ("stage", "model", "GPU memory", "fits", "engine", "s/rollout", "s/step", "hours", "GPU hours", "USD")
WORDS = 5  # columns that are aligned to the left


def render_cluster(planned: ClusterPlan, mean: int | None = None) -> str:
    """Return the plan as text: a row for each stage, and what was assumed, `mean` tokens of a completion included."""
    cluster, gpu = planned.cluster, planned.cluster.gpu
    each = f"{show_bytes(int(gpu.memory))}, {gpu.bandwidth / 1e12:.3g} TB/s, {gpu.flops / 1e12:,.0f} TFLOP/s"
    links = f"{cluster.link / 1e9:,.0f} GB/s {'between nodes' if cluster.nodes > 1 else 'between GPUs'}"
    lengths = f"{mean:,} tokens" if mean else f"{MEAN_SHARE:.0%} of its limit"
    total = ["total", "", "", "", "", "", "", *_spent(planned, planned.hours)]
    lines = [f"{planned.name} on {cluster}: each GPU {each}, {gpu.price:.2f} USD an hour; {links}", ""]
    lines += _table([HEAD, *(_row(planned, stage) for stage in planned.stages), total])
    if planned.unknown:
        lines += ["", f"Unknown before the data is read, and not in the total: {', '.join(planned.unknown)}"]
    lines += [
        "",
        "Arithmetic, nothing was measured; hours are lower bounds. Generation reads memory at full speed, training",
        f"reaches {PEAK_SHARE:.0%} of the peak. A completion or record has {lengths} on average (--mean-length),",
        "the longest reaches it. Grading, checkpoints, evaluations inside stages and failures are left out.",
    ]
    if planned.servers:
        lines.append("vLLM servers have half of the GPUs, and wait while the others train, as those wait for them.")
    elif cluster.count > 1:
        lines.append("Stages that do not train generate on one GPU; with vLLM servers, on all of these.")
    return "\n".join(lines)


def _row(planned: ClusterPlan, stage: StageCost) -> list[str]:
    held, times = stage.share, [time for _, time in stage.parts or ()]
    fits = "" if held is None else "no" if held.problem else "yes"
    engine = f"{held.engine_gpus} GPU, {stage.rows:,} rows" if held and stage.rows else ""
    memory = show_bytes(held.peak) if held and held.peak else ""
    rollouts = _range([time.rollout + time.push for time in times])
    steps = _range([time.learning + time.links for time in times])
    model = size(stage.parameters) if stage.parameters else ""
    return [stage.name, model, memory, fits, engine, rollouts, steps, *_spent(planned, stage.hours)]


def _spent(planned: ClusterPlan, hours: float | None) -> list[str]:
    if hours is None:
        return ["unknown", "", ""]
    return [_number(hours), _number(hours * planned.cluster.count), _number(planned.cost(hours))]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _range(values: Sequence[float]) -> str:
    """Return seconds as text, the first and the last if they differ; "" if there are none."""
    shown = [_number(value) for value in values if value]
    return " to ".join(dict.fromkeys([shown[0], shown[-1]])) if shown else ""


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [
            cell.ljust(width) if i < WORDS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return ["  ".join(row).rstrip() for row in aligned]

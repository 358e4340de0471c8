"""Simulate R1-Zero on 8 to 4,096 GPUs: how efficient it is, and where the bottleneck moves.

python benchmarks/scale_simulation.py
python benchmarks/scale_simulation.py --stage RUN/stages/zero --parameters 0.5e6 --tensors 40

The first prints the page and writes docs/results/scale-simulation.{md,json,svg}: the times of a token step and of an
update are planned (`r1kit.plan.hours`), and lengths are log-normal. With --stage they are those of a run with one
process (timings.jsonl, metrics.jsonl and rollouts of the stage); the table for copies of its machine is printed.

`scale_model.py` has the simulation and its assumptions. Nothing was measured on many GPUs.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import scale_model as model
from machine import today
from scale_model import Arrangement, Draw, Job, Rates, Result

from r1kit.config import RL
from r1kit.metrics.log import read_metrics
from r1kit.plan.gpus import NODE, Cluster
from r1kit.plan.hours import PEAK_SHARE, computing_parameters, training_seconds
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.plan.memory import Setting
from r1kit.plan.share import EngineKind, share
from r1kit.plan.work import MEAN_SHARE
from r1kit.recipe import load_recipe

RESULTS = Path(__file__).parent.parent / "docs/results"
COUNTS = [8 << i for i in range(10)]
SHOWN = (8, 32, 128, 512, 1024, 4096)  # rows of a table
MODELS = (("Qwen/Qwen2.5-7B", "H200"), ("Qwen/Qwen2.5-1.5B", "H100"))
ARRANGEMENTS: tuple[Arrangement, ...] = ("one after another", "servers", "servers, ahead")
ROWS, SEED = 1024, 0
WIDTH = 100  # of the page
Batches = dict[str, dict[Arrangement, list[Result]]]
"""Batch ("fixed" or "growing") -> arrangement -> results by number of GPUs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", type=Path, metavar="DIR", help="of an rl stage in a run with one process")
    parser.add_argument("--parameters", type=float, default=0.0, help="of its model, for the exchange of weights")
    parser.add_argument("--tensors", type=int, default=0, help="weight tensors of its model")
    args = parser.parse_args()
    if args.stage:
        job, draw = measured(args.stage, int(args.parameters), args.tensors)
        on = Cluster.parse("8xH100")  # for links between GPUs
        print("\n".join(_batches({"fixed": {"one after another": [_one(job, draw, on, n) for n in COUNTS]}}, COUNTS)))
        return
    results = {name: planned_results(name, gpu) for name, gpu in MODELS}
    text = "\n".join(page(results)) + "\n"
    (RESULTS / "scale-simulation.md").write_text(text, encoding="utf-8")
    data = {name: {batch: _json(each) for batch, each in one.items()} for name, one in results.items()}
    (RESULTS / "scale-simulation.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    plot(results, RESULTS / "scale-simulation.svg")
    print(text)


def _one(job: Job, draw: Draw, on: Cluster, count: int) -> Result:
    return model.simulate(job, Cluster.of(count, on.gpu), "one after another", draw)


def _json(results: dict[Arrangement, list[Result]]) -> dict[str, list[dict[str, object]]]:
    return {name: [{**asdict(each), "rate": each.rate} for each in some] for name, some in results.items()}


def planned_results(name: str, gpu: str) -> Batches:
    """Simulate the paper's batch on all numbers of GPUs, and one that grows with their number."""
    results: Batches = {"fixed": {}, "growing": {}}
    for batch, by_arrangement in results.items():
        for arrangement in ARRANGEMENTS:
            by_arrangement[arrangement] = []
            for count in COUNTS:
                cluster = Cluster.of(count, Cluster.parse(f"1x{gpu}").gpu)
                job, draw = planned(name, cluster, arrangement)
                batches = count // NODE if batch == "growing" else 1
                by_arrangement[arrangement].append(model.simulate(job, cluster, arrangement, draw, batches))
    return results


def planned(name: str, cluster: Cluster, arrangement: Arrangement) -> tuple[Job, Draw]:
    """Return R1-Zero of `r1-qwen-7b` up to step 8,200, by the arithmetic of `r1kit check --gpus`."""
    changes = [f"stage.zero.model={name}", "stage.zero.recompute=on", f"max_concurrent={ROWS}"]
    zero, shape = load_recipe("r1-qwen-7b", changes).stage["zero"], KNOWN_SHAPES[name]
    assert isinstance(zero, RL)
    limit = zero.completion_cap(0)
    mean = MEAN_SHARE * limit
    kind: EngineKind = "native" if arrangement == "one after another" else "servers"
    held, gpu = share(zero, shape, Setting("cuda", "bfloat16", ROWS), cluster, kind), cluster.gpu
    assert held.engine_gpus == 1
    trained = training_seconds(zero, shape, gpu, 1, 0)
    rates = Rates(
        token_step=2 * shape.parameter_count() / gpu.bandwidth,
        cached=held.token_bytes / gpu.bandwidth,
        generated=2 * computing_parameters(shape) / (PEAK_SHARE * gpu.flops),
        trained=trained,
        attended=training_seconds(zero, shape, gpu, 1, 1) - trained,
        rows=min(ROWS, int(held.cache_tokens // mean)),
    )
    # A block has four matrices, the biases of one of them, and two norms (model/decoder.py).
    tensors = 7 * shape.num_hidden_layers + (2 if shape.tie_word_embeddings else 3)
    job = Job(rates, shape.parameter_count(), tensors)
    batch = zero.prompts_per_step, zero.num_generations, zero.steps_per_rollout
    assert batch == (job.prompts, job.group, job.updates)
    return job, model.log_normal(mean, limit, SEED)


def measured(stage: Path, parameters: int, tensors: int) -> tuple[Job, Draw]:
    """Return the job of a stage that ran with one process, and lengths of its own groups."""
    rows = read_metrics(stage / "metrics.jsonl")[1:]  # the first step allocates memory
    sampled = [row for row in rows if row.get("time/rollout")]
    groups: dict[tuple[int, str], list[float]] = defaultdict(list)
    for file in sorted((stage / "rollouts").glob("step_*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            groups[row["step"], row["prompt_id"]].append(row["tokens"])
    config = json.loads((stage / "artifact.json").read_text(encoding="utf-8"))["config"]
    prompts, group, updates = (config[key] for key in ("prompts_per_step", "num_generations", "steps_per_rollout"))
    longest = max(row["completions/max_length"] for row in rows)
    token_steps = sum(row["completions/max_length"] for row in sampled)
    rates = Rates(
        token_step=sum(row["time/rollout"] for row in sampled) / token_steps,
        cached=0.0,
        generated=0.0,
        trained=sum(row["time/update"] for row in rows) / sum(row["tokens"] for row in rows),
        attended=0.0,
        rows=prompts * group * updates,
    )
    grading = sum(row.get("time/grade", 0.0) for row in sampled) / (len(sampled) * prompts * group * updates)
    job = Job(rates, parameters, tensors, prompts, group, updates, grading)
    return job, model.resampled([*groups.values()], round(longest), SEED)


# -- output -----------------------------------------------------------------------------------------------------------


def page(results: dict[str, Batches]) -> Iterable[str]:
    """Yield the lines of the page."""
    yield "# R1-Zero on 8 to 4,096 GPUs, simulated"
    yield from _wrapped(
        "For anyone who plans a run on many GPUs. After this page you know how efficient the paper's batch is on them, "
        "how a batch that grows with them compares, and what a step waits for.",
        f"`python benchmarks/scale_simulation.py`, {today()}. **Nothing here was measured on GPUs**: token steps and "
        "updates take the time that `r1kit check --gpus` plans, and r1kit never ran with more than four processes. "
        "[scaling.md](../scaling.md) explains how to run on a cluster, [cluster-costs.md](cluster-costs.md) what a "
        "complete run costs.",
    )
    yield from ("", "## What is simulated", "", *_assumptions())
    yield from ("", "## Where the bottleneck moves", "", "![Efficiency and time by GPUs](scale-simulation.svg)", "")
    yield from _reading(results)
    yield from ("", "The largest part, and the number of GPUs from which it is the largest:", "")
    yield from ("| model | batch | arrangement | largest part |", "| --- | --- | --- | --- |")
    for (name, gpu), one in zip(MODELS, results.values(), strict=True):
        for batch, by_arrangement in one.items():
            for arrangement, some in by_arrangement.items():
                yield f"| {name.partition('/')[2]}, {gpu} | {batch} | {arrangement} | {bottlenecks(some)} |"
    name, gpu = MODELS[0]
    yield from ("", f"## {name.partition('/')[2]} on {gpu}, in seconds")
    yield from _batches(results[name], SHOWN)


def _wrapped(*paragraphs: str) -> Iterable[str]:
    for paragraph in paragraphs:
        yield from ("", *textwrap.wrap(paragraph, WIDTH, break_on_hyphens=False))


def _list(*items: str) -> Iterable[str]:
    for item in items:
        yield from textwrap.wrap(f"- {item}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _assumptions() -> Iterable[str]:
    inside, outside = (1e6 * each for each in model.RING_SECONDS)
    return _list(
        "**A rollout with its updates**: 512 prompts with 16 completions of up to 32,768 tokens, then 16 updates of "
        "512 completions (paper). *Growing*: with twice the GPUs, twice the prompts in a rollout and in an update.",
        f"**Lengths** are log-normal (sigma 1, half of the variance between prompts), {MEAN_SHARE:.0%} of the limit on "
        "average before the limit cuts them.",
        "**One after another**: every GPU generates with its own engine, then every GPU trains. **Servers**: vLLM on "
        "half of the GPUs, the learners on the others; they wait for each other. **Servers, ahead**: they do not "
        "(`rollouts_ahead = 1`).",
        f"**Engines** batch continuously, up to {ROWS:,} completions and what fits into the KV cache. *Tail*: fewer "
        "than half of these rows are in use.",
        f"**Grading** takes {model.GRADE_SECONDS:g} s a completion, beside the rollout, in {model.WORKERS} workers of "
        "each process (assumed: a program with its tests).",
        "**Updates** are dealt to GPUs as r1kit does, by group or by completion. *Uneven*: waiting for the busiest.",
        f"**Links** between nodes have 50 GB/s a GPU (data sheet). A step of a ring takes {inside:g} us in a node and "
        f"{outside:g} us between nodes (NCCL's own model of its protocol LL128); every weight tensor takes two rings.",
        f"**Exchange**: every process gets all completions as Python objects, {model.OBJECT_BYTES:g} bytes and "
        f"{1e9 * model.OBJECT_SECONDS:.0f} ns a token (measured on one core of an AMD EPYC), through "
        f"{model.NODE_TCP / 1e9:g} GB/s into a node (assumed).",
        f"**Push**: weights are written to a shared file system and read from it, {model.FILES / 1e9:g} GB/s a node "
        "(assumed).",
        f"**Slow nodes**: one node of {1 / model.SLOW_NODES:.0f} is {model.SLOWER:.0%} slower, and all wait for it "
        "(assumed). Failures, checkpoints and evaluations are left out.",
        "**Efficiency**: completions per GPU and second, compared with 8 GPUs that generate and train in turn.",
    )


def _batches(results: Batches, counts: Sequence[int]) -> Iterable[str]:
    for batch, by_arrangement in results.items():
        first = next(iter(by_arrangement.values()))[0]
        for arrangement, some in by_arrangement.items():
            yield from ("", f"{batch.capitalize()} batch, {arrangement}:", "", *_table(some, first, counts))


def _table(results: Sequence[Result], first: Result, counts: Sequence[int]) -> Iterable[str]:
    """Yield a table with the parts that take 1% of the time somewhere."""
    names = [name for name in results[0].parts if any(each.parts[name] >= 0.01 * each.seconds for each in results)]
    head = ["GPUs", "completions", "seconds", "efficiency", *names, "largest"]
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join(["---:"] * (len(head) - 1) + ["---"]) + " |"
    for each in results:
        if each.gpus in counts:
            sizes = [f"{each.gpus:,}", f"{each.completions:,}", _number(each.seconds), f"{each.rate / first.rate:.0%}"]
            spent = [_number(each.parts[name]) for name in names]
            yield "| " + " | ".join([*sizes, *spent, each.bottleneck]) + " |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.5 else f"{value:.2g}"


def bottlenecks(results: Sequence[Result]) -> str:
    """Return the largest parts in the order of GPUs, each with the first number of GPUs where it is the largest."""
    lines = []
    for before, each in zip([None, *results], results, strict=False):
        if before is None or before.bottleneck != each.bottleneck:
            lines.append(f"{each.bottleneck} from {each.gpus:,}")
    return ", ".join(lines)


def _reading(results: dict[str, Batches]) -> Iterable[str]:
    """Yield what follows from the results of the first model."""
    (name, gpu), one = MODELS[0], results[MODELS[0][0]]
    fixed, growing = ({each.gpus: each for each in one[batch]["one after another"]} for batch in ("fixed", "growing"))
    ahead = {each.gpus: each for each in one["fixed"]["servers, ahead"]}
    takes = {gpus: f"{_number(each.seconds)} s" for gpus, each in fixed.items()}
    longest = fixed[4096].parts["rollout"] + fixed[4096].parts["tail"]
    apart = fixed[32].parts["updates"] + fixed[32].parts["uneven"]
    too_large = next((each.gpus for each in growing.values() if each.node_memory > model.NODE_MEMORY), None)
    yield from (f"For {name.partition('/')[2]} on {gpu}:", "")
    yield from _list(
        f"**With the paper's batch, more than 128 GPUs bring little**: {takes[8]} on 8, {takes[128]} on "
        f"128, {takes[512]} on 512, {takes[4096]} on 4,096. A completion of 32,768 tokens takes "
        f"{_number(longest)} s to generate, and those of 16 updates {_number(fixed[4096].parts['uneven'])} s, on any "
        "number of GPUs. What would help is to divide one completion over several GPUs, which r1kit cannot.",
        f"**Dealing groups costs much when there are about as many GPUs as groups.** On 32 GPUs, one group each, "
        f"updates take {_number(apart)} s; dealt by completion they would take {_number(_by_completion(32))} s.",
        f"**A batch that grows keeps the GPUs busy**: {growing[512].rate / growing[8].rate:.0%} efficiency on 512, "
        f"where the paper's batch has {fixed[512].rate / fixed[8].rate:.0%}. Whether such batches train as well is "
        "not known.",
        "**The exchange of completions does not scale**: every process gets those of all others. "
        + (
            f"With a growing batch they need more than the 2 TB of a node from {too_large:,} GPUs." if too_large else ""
        ),
        f"**Servers on half of the GPUs** bring little while phases alternate. Ahead, 128 GPUs take "
        f"{_number(ahead[128].seconds)} s.",
    )


def _by_completion(count: int) -> float:
    """Return the seconds of 16 updates of the first model if completions are dealt instead of groups."""
    (name, gpu), seen = MODELS[0], model.UPDATES
    job, draw = planned(name, Cluster.parse(f"{count}x{gpu}"), "one after another")
    lengths_PG = draw(job.prompts * job.updates, job.group)
    each = [lengths_PG[i * job.prompts : (i + 1) * job.prompts] for i in range(seen)]
    return job.updates / seen * sum(model.update(lengths, count, job.rates, groups_of=4)[0] for lengths in each)


def plot(results: dict[str, Batches], path: Path) -> None:
    """Draw efficiency, and the parts of the fixed batch of the first model."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    one = next(iter(results.values()))
    for batch, line in (("fixed", "-"), ("growing", "--")):
        first = one[batch]["one after another"][0]
        for (arrangement, some), color in zip(one[batch].items(), ("C0", "C1", "C2"), strict=True):
            rates = [100 * each.rate / first.rate for each in some]
            left.plot(COUNTS, rates, line, color=color, label=f"{arrangement} ({batch} batch)", linewidth=1.2)
    left.set(xscale="log", xlabel="GPUs", ylabel="efficiency, %", ylim=(0, 165), yticks=range(0, 101, 20))
    left.legend(frameon=False, fontsize=7, loc="upper right")
    some = one["fixed"]["one after another"]
    parts = {name: [each.parts[name] / each.seconds * 100 for each in some] for name in some[0].parts}
    shown = {name: values for name, values in parts.items() if max(values) >= 1}
    right.stackplot(COUNTS, [*shown.values()], labels=[*shown])
    right.set(xscale="log", xlabel="GPUs", ylabel="% of the time (fixed batch, one after another)", ylim=(0, 100))
    right.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    for panel in (left, right):
        panel.set_xticks(COUNTS[::3], [f"{count:,}" for count in COUNTS[::3]])
        panel.minorticks_off()
    plt.rcParams["svg.hashsalt"] = "scale-simulation"
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()

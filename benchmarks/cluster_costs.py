"""Plan the paper's R1-Zero for models of 1.5B to 671B parameters, and compare with the published GPU hours.

python benchmarks/cluster_costs.py     prints the page and writes docs/results/cluster-costs.md

Pure arithmetic (`r1kit check RECIPE --gpus ...`): no constant was chosen to meet the published hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from machine import today

from r1kit.config import Recipe, Supervised
from r1kit.plan import Cluster, cluster_plan, show_bytes, size
from r1kit.plan.hours import PEAK_SHARE, seconds
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.plan.memory import Setting
from r1kit.plan.share import share
from r1kit.plan.work import MEAN_SHARE, Work, work
from r1kit.recipe import load_recipe

PAGE = Path(__file__).parent.parent / "docs/results/cluster-costs.md"
ZERO = "stage.zero.model={model}"
RECOMPUTE = "stage.zero.recompute=on"
ROWS = 1024  # completions that an engine may generate at the same time, where its KV cache allows
SHARDED, LORA = "stage.zero.shard_weights=true", "stage.zero.lora_rank=16"
SHORTER, MICRO_BATCH = "stage.zero.max_completion_length=32768", "stage.zero.micro_batch_tokens=32768"
SERVERS = 'engine=["http://server:8000"]'
PLANS = (  # model, GPUs, other keys
    ("Qwen/Qwen2.5-1.5B", "8xH100", ()),
    ("Qwen/Qwen2.5-7B", "8xH100", ()),
    ("Qwen/Qwen2.5-7B", "8xH100", (SHARDED,)),
    ("Qwen/Qwen2.5-7B", "8xH100", (LORA,)),
    ("Qwen/Qwen2.5-7B", "8xH200", ()),
    ("Qwen/Qwen2.5-14B", "4x8xH200", ()),
    ("Qwen/Qwen2.5-14B", "4x8xH200", (SHARDED,)),
    ("Qwen/Qwen2.5-14B", "4x8xH200", (LORA,)),
    ("Qwen/Qwen2.5-32B", "8x8xB200", (SHARDED,)),
    ("Qwen/Qwen2.5-32B", "4x8xB200", (LORA,)),
    ("Qwen/Qwen2.5-72B", "64x8xB200", (SHARDED,)),
    ("Qwen/Qwen2.5-72B", "64x8xB200", (SHARDED, SHORTER, MICRO_BATCH)),
    ("Qwen/Qwen2.5-72B", "64x8xB200", (SHARDED, SERVERS)),
    ("deepseek-ai/DeepSeek-V3-Base", "64x8xH800", (SHARDED,)),
)
V3 = "deepseek-ai/DeepSeek-V3-Base"
PUBLISHED = {"R1-Zero": 101_000, "SFT data": 5_000, "R1": 41_000}  # H800 hours (paper: Table 7)
STAGES = {
    "R1-Zero": ("zero",),
    "SFT data": ("cold_data", "rs_data"),
    "R1": ("dev1", "dev2", "dev3", "helpful", "safety", "r1"),
}
RECORDS = {"dev3": 804_745, "helpful": 66_000, "safety": 106_000}  # paper: Table 5, Methods


@dataclass(frozen=True)
class Assumed:
    """What the comparison assumes, as `r1kit check` does by default."""

    what: str = "as above"
    bandwidth: float = 1.0
    peak: float = 1.0
    lengths: float = 1.0
    even: bool = True
    """Whether an update is divided evenly over GPUs, as pipelines of packed rows do; else no completion is divided."""


CHANGES = (
    Assumed(),
    Assumed("every completion trained on one GPU, as r1kit divides an update", even=False),
    Assumed("decoding at half of the memory bandwidth", bandwidth=0.5),
    Assumed("training at 35% of the peak, as DeepSeek-V3 was pre-trained", peak=0.35 / PEAK_SHARE),
    Assumed("completions half as long on average", lengths=0.5),
    Assumed("completions twice as long on average", lengths=2.0),
)


def main() -> None:
    text = "\n".join([*_head(), *_models(), *_paper()]) + "\n"
    PAGE.write_text(text)
    print(text)


def _head() -> list[str]:
    return [
        "# What R1-Zero costs, by arithmetic",
        "",
        "For anyone who chooses a model and a cluster. After this page you know what the paper's R1-Zero takes on",
        "models of six sizes, and how far the same arithmetic is from the paper's published hours.",
        "",
        f"`python benchmarks/cluster_costs.py`, {today()}. **Nothing here was measured.** The formulas and their",
        "sources are in `src/r1kit/plan/` (`gpus`, `work`, `share`, `hours`); [scaling.md](../scaling.md) explains how",
        "to run on several GPUs.",
        "",
    ]


def _models() -> Iterator[str]:
    yield "## R1-Zero with the paper's values"
    yield ""
    yield "10,400 steps of 512 completions of up to 32,768 tokens, 65,536 from step 8,200, with a reference model:"
    yield f"stage `zero` of `r1-qwen-7b` with `max_concurrent = {ROWS}`, recomputation, and micro-batches of one"
    yield "longest completion, or shorter ones where the keys say so. `engine` stands for vLLM servers on half of the"
    yield "GPUs."
    yield ""
    yield "| model | GPUs | keys | memory of a GPU | fits | hours | GPU hours | USD |"
    yield "| --- | --- | --- | ---: | --- | ---: | ---: | ---: |"
    changes = []
    for model, gpus, keys in PLANS:
        recipe, cluster = _zero_only(model, keys), Cluster.parse(gpus)
        planned = cluster_plan(recipe, cluster)
        (stage,) = planned.stages
        assert stage.share is not None and stage.hours is not None
        shown = ", ".join(f"`{_key(key)}`" for key in keys)
        spent = [stage.hours, stage.hours * cluster.count, planned.cost(stage.hours)]
        numbers = " | | " if stage.refusal else " | ".join(f"{each:,.0f}" for each in spent)
        name = f"{model.partition('/')[2]} ({size(stage.parameters or 0)})"
        memory, fits = show_bytes(stage.share.peak), "no" if stage.refusal else "yes"
        yield f"| {name} | {gpus} | {shown} | {memory} | {fits} | {numbers} |"
        if stage.refusal:
            changes.append(f"- {name} on {gpus}{', ' if shown else ''}{shown}: {stage.refusal.rpartition(': ')[2]}")
    yield ""
    yield "What `r1kit check` proposes where it does not fit:"
    yield ""
    yield from changes
    yield ""


def _key(override: str) -> str:
    return "engine" if override == SERVERS else override.removeprefix("stage.zero.").replace("=", " = ")


def _zero_only(model: str, keys: Sequence[str]) -> Recipe:
    recipe = load_recipe("r1-qwen-7b", [ZERO.format(model=model), f"max_concurrent={ROWS}", RECOMPUTE, *keys])
    return recipe.model_copy(update={"stage": {"zero": recipe.stage["zero"]}})


def _paper() -> Iterator[str]:
    yield "## Compared with the paper's hours"
    yield ""
    yield "DeepSeek-V3 on 64x8xH800, arranged as in the paper: generation and training in turn on all GPUs, one copy"
    yield "of the weights over 32 GPUs for generation, updates of packed rows divided evenly, and no gathering of"
    yield "weights. The paper has pipeline and expert parallelism for this; r1kit has neither and cannot train this"
    yield "model. SFT and reward models have the paper's numbers of records. The paper does not give the samples of the"
    yield "SFT data, nor the steps of R1's first RL stage; these are the bundled recipe's."
    yield ""
    yield "| | generation, GPU hours | training, GPU hours | together | published | ratio |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    total = [0.0, 0.0, 0.0]
    for name, published in PUBLISHED.items():
        generation, training = _gpu_hours(STAGES[name], Assumed())
        total = [total[0] + generation, total[1] + training, total[2] + published]
        yield _compared(name, generation, training, published)
    yield _compared("all", *total)
    yield ""
    yield "Where the distance may come from. Each row changes one assumption of R1-Zero:"
    yield ""
    yield "| R1-Zero | generation, GPU hours | training, GPU hours | together | published | ratio |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for changed in CHANGES:
        yield _compared(changed.what, *_gpu_hours(STAGES["R1-Zero"], changed), PUBLISHED["R1-Zero"])
    yield ""
    yield f"- **Lengths.** The mean, {MEAN_SHARE:.0%} of the limit, is the published one of the 804,745 records, and"
    yield "  about that of R1-Zero's figure. It hardly matters: generation is bound by the longest completion, since a"
    yield "  token step reads all weights however few completions are left."
    yield "- **35% of the peak** follows from DeepSeek-V3's report: 180,000 H800 hours for a trillion tokens of 6 x 37"
    yield "  billion operations, at 989 TFLOP/s."
    yield "- **Left out, longer:** latency between nodes in every layer of a token step, pipeline bubbles, loading and"
    yield "  offloading of modules, grading, evaluation, failures. Decoding at half of the bandwidth would explain"
    yield "  R1-Zero's distance alone; whether it does is not known."
    yield "- **Left out, shorter:** speculative decoding, and FP8 weights, which halve the reading."
    yield "- **SFT data.** The paper's 5,000 hours also pay for the samples that were filtered out, DeepSeek-V3's own"
    yield "  answers and its judgements; their numbers are not published. 884,176 completions are counted here."
    dev2 = sum(_gpu_hours(("dev2",), Assumed())) / 1.6
    yield f"- **R1.** The steps of its first RL stage are not published. Every 1,000 take {dev2:,.0f} GPU hours here."


def _compared(name: str, generation: float, training: float, published: float) -> str:
    together = generation + training
    return (
        f"| {name} | {generation:,.0f} | {training:,.0f} | {together:,.0f} | {published:,.0f} "
        f"| {together / published:.2f} |"
    )


def _gpu_hours(names: Sequence[str], assumed: Assumed) -> tuple[float, float]:
    """Return GPU hours of generation and of training of stages of r1-deepseek-v3."""
    recipe, cluster, shape = load_recipe("r1-deepseek-v3"), Cluster.parse("64x8xH800"), KNOWN_SHAPES[V3]
    gpu = cluster.gpu
    gpu = replace(gpu, bandwidth=gpu.bandwidth * assumed.bandwidth, flops=gpu.flops * assumed.peak)
    cluster = replace(cluster, gpu=gpu)
    generation = training = 0.0
    for name in names:
        stage = recipe.stage[name]
        held = share(stage, shape, Setting("cuda", "bfloat16", ROWS), cluster, "servers")
        held = replace(held, learners=cluster, engines=replace(cluster))  # a copy: any engine takes any completion
        for part in _works(recipe, name):
            part = replace(part, mean=min(part.longest, part.mean * assumed.lengths))
            time = seconds(stage, part, shape, held, ROWS)
            even = seconds(stage, replace(part, longest=1), shape, held, ROWS) if assumed.even else time
            generation += part.rollouts * time.rollout
            training += part.steps * even.learning
    return generation * cluster.count / 3600, training * cluster.count / 3600


def _works(recipe: Recipe, name: str) -> list[Work]:
    stage = recipe.stage[name]
    works = work(stage, recipe.stage)
    assert works is not None
    if isinstance(stage, Supervised) and name in RECORDS:
        steps = stage.epochs * -(-RECORDS[name] // stage.sequences_per_step)
        works = [replace(each, steps=steps) for each in works]
    return works


if __name__ == "__main__":
    main()

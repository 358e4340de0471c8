"""A recipe on a cluster: whether it fits, and what each stage takes in time and money."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from r1kit.config import RL, Adapters, Recipe, StageConfig, Supervised, Training
from r1kit.machine import choose_dtype
from r1kit.model.config import ModelConfig
from r1kit.plan.fit import largest_key, sufficient_changes
from r1kit.plan.gpus import GPUS, Cluster
from r1kit.plan.hours import Seconds, rows_at_once, seconds
from r1kit.plan.memory import Setting
from r1kit.plan.outline import SizedStage, sized_stages
from r1kit.plan.share import EngineKind, Share, share
from r1kit.plan.units import show_bytes, size
from r1kit.plan.work import Work, work

Shared = Callable[[StageConfig, Cluster], Share]
MOST_GPUS = 4096  # that are proposed
SERVERS = "set engine to the URLs of vLLM servers on half of the GPUs"
FEWEST_TOKENS = 512  # of a length limit that is proposed


@dataclass(frozen=True, slots=True)
class StageCost:
    """One stage on a cluster."""

    name: str
    kind: str
    parameters: int | None
    """None if the shape of the model is unknown, or it is behind an endpoint."""
    share: Share | None
    rows: int = 0
    """Completions that an engine generates at the same time; 0 for a stage that does not generate."""
    parts: tuple[tuple[Work, Seconds], ...] | None = None
    """Work and its time, for each length limit; None if unknown."""
    refusal: str = ""
    """Why it does not fit, and what to change; "" if it fits."""

    @property
    def hours(self) -> float | None:
        """Hours of the stage; None if they are unknown."""
        return None if self.parts is None else sum(time.total(work) for work, time in self.parts) / 3600


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """A recipe on a cluster."""

    name: str
    cluster: Cluster
    stages: tuple[StageCost, ...]
    servers: bool
    """Whether vLLM servers generate."""

    @property
    def hours(self) -> float:
        """Hours of all stages whose time is known."""
        return sum(stage.hours or 0.0 for stage in self.stages)

    @property
    def unknown(self) -> list[str]:
        """Stages whose time is unknown."""
        return [stage.name for stage in self.stages if stage.hours is None]

    @property
    def errors(self) -> dict[str, str]:
        """Name of a stage that does not fit -> the reason."""
        return {stage.name: stage.refusal for stage in self.stages if stage.refusal}

    def cost(self, hours: float) -> float:
        """Return US dollars for hours of all GPUs."""
        return hours * self.cluster.count * self.cluster.gpu.price

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON-compatible data."""
        stages = [{**asdict(stage), "hours": stage.hours} for stage in self.stages]
        total = {"hours": self.hours, "gpu_hours": self.hours * self.cluster.count, "usd": self.cost(self.hours)}
        return {"name": self.name, "cluster": asdict(self.cluster), "stages": stages, **total, "unknown": self.unknown}


def cluster_plan(recipe: Recipe, cluster: Cluster, mean: int | None = None) -> ClusterPlan:
    """Plan a checked recipe for a cluster. Reads no file except config.json of local models.

    Completions and records have `mean` tokens on average, by default a share of their limit (`plan.work`).
    """
    stages = (_cost(sized, recipe, cluster, mean) for sized in sized_stages(recipe))
    return ClusterPlan(recipe.name, cluster, tuple(stages), isinstance(recipe.engine, list))


def _cost(sized: SizedStage, recipe: Recipe, cluster: Cluster, mean: int | None) -> StageCost:
    name, stage, shape, most = sized.name, sized.stage, sized.shape, recipe.max_concurrent
    amounts = work(sized.given, recipe.stage, mean)
    if shape is None:
        return StageCost(name, stage.kind, None, None, parts=() if amounts == [] else None)
    setting = Setting("cuda", choose_dtype("cuda", recipe.dtype), most, sized.reward_parameters, recipe.kv_cache_tokens)
    engine: EngineKind = (
        "servers" if isinstance(recipe.engine, list) else "vllm" if recipe.engine == "vllm" else "native"
    )

    def shared(changed: StageConfig, on: Cluster) -> Share:
        return share(changed, shape, setting, on, engine)

    held, refusal = shared(stage, cluster), ""
    if held.problem:
        served = share(stage, shape, setting, cluster, "servers") if engine != "servers" else held
        refusal = _refusal(sized, shape, cluster, held, shared, not served.problem)
    if engine == "servers":  # each process that samples spreads max_concurrent over all servers
        senders = held.learners.count if isinstance(stage, Training) else 1
        most = senders * -(-most * held.engine_gpus // held.engines.count)
    rows = [rows_at_once(each, held, most) for each in amounts or () if each.completions]
    parts = None
    if amounts is not None:
        parts = tuple((each, seconds(stage, each, shape, held, most)) for each in amounts)
    return StageCost(name, stage.kind, shape.parameter_count(), held, max(rows, default=0), parts, refusal)


def _refusal(
    sized: SizedStage, shape: ModelConfig, cluster: Cluster, held: Share, shared: Shared, fits_with_servers: bool
) -> str:
    """Say what is needed, and what would make the stage fit."""

    def fits(changed: StageConfig) -> bool:
        return not (cluster.count > 1 and _is_refused(changed)) and not shared(changed, cluster).problem

    ways = [*sufficient_changes(sized.stage, "cuda", fits), *_shorter(sized.stage, fits)]
    ways += [f"use {larger}" for larger in _larger(cluster, lambda on: not shared(sized.stage, on).problem)]
    ways += [SERVERS] if fits_with_servers else []
    change = "; or ".join(ways) or "use a smaller model"
    return (
        f"stage.{sized.name}.{largest_key(sized.stage)}: {size(shape.parameter_count())} parameters on {cluster} with "
        f"{show_bytes(int(cluster.gpu.memory))} each: {held.problem}: {change}"
    )


def _is_refused(stage: StageConfig) -> bool:
    """Return whether several processes refuse the keys of a stage (docs/several-processes.md)."""
    if not isinstance(stage, Training):
        return False
    lora = isinstance(stage, Adapters) and stage.lora_rank > 0
    return stage.adam_8bit or (stage.shard_weights and (stage.offload or lora))


def _shorter(stage: StageConfig, fits: Callable[[StageConfig], bool]) -> Iterator[str]:
    """Yield the largest of the length limit's halves, quarters and so on with which a stage fits."""
    if not isinstance(stage, RL | Supervised):
        return
    key, longest = stage.longest_text()
    for tokens in itertools.takewhile(
        lambda tokens: tokens >= FEWEST_TOKENS, (longest >> i for i in itertools.count(1))
    ):
        keys: dict[str, Any] = {key: {0: tokens} if isinstance(stage, RL) else tokens}
        text = f"set {key} = {tokens}"
        if isinstance(stage, RL) and stage.micro_batch_tokens > tokens:
            keys["micro_batch_tokens"] = tokens
            text += f" and micro_batch_tokens = {tokens}"
        if fits(stage.model_copy(update=keys)):
            yield text
            return


def _larger(cluster: Cluster, fits: Callable[[Cluster], bool]) -> Iterator[Cluster]:
    """Yield the smallest doubling of the cluster that would do, and the same number of GPUs with more memory."""
    counts = itertools.takewhile(lambda count: count <= MOST_GPUS, (cluster.count << i for i in itertools.count(1)))
    more = (Cluster.of(count, cluster.gpu) for count in counts)
    larger = sorted((gpu for gpu in GPUS.values() if gpu.memory > cluster.gpu.memory), key=lambda gpu: gpu.memory)
    for choices in (more, (replace(cluster, gpu=gpu) for gpu in larger)):
        yield from itertools.islice(filter(fits, choices), 1)

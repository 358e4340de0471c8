"""Simulate GRPO on many GPUs, completion by completion: what a rollout and its updates wait for.

`scale_simulation.py` prints and plots the results. The arithmetic of one token step and one update is that of
`r1kit.plan.hours`; added are the lengths of single completions, how they are dealt to GPUs, and what only matters on
many GPUs. Dimensions: P prompts, G group size, N completions of an engine.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from r1kit.config.stage import PROMPT_TOKENS
from r1kit.plan.gpus import Cluster

Lengths = NDArray[np.float64]
Draw = Callable[[int, int], Lengths]
"""Prompts and group size -> lengths_PG."""
Arrangement = Literal["one after another", "servers", "servers, ahead"]

GRADE_SECONDS, WORKERS = 1.0, 8  # assumed: a program with its tests, and the workers of each process that grades
# One step of a ring between GPUs of a node and between nodes: NCCL's own model, protocol LL128 (src/graph/tuning.cc).
RING_SECONDS = 1.9e-6, 4.0e-6
# A finished completion is sent to every process as a Python object: measured with pickle on one core of an AMD EPYC
# (Zen 4), 5,000 tokens each.
OBJECT_BYTES, OBJECT_SECONDS = 17.6, 90e-9  # of a token
NODE_TCP = 5e9  # bytes per second of a node for such objects, which do not travel by NCCL (assumed)
FILES = 5e9  # bytes per second that a node writes to, or reads from, a shared file system (assumed)
SLOW_NODES, SLOWER = 0.005, 0.1  # assumed: one node of 200 is 10% slower than the others, and all wait for it
MEMORY_OF_TOKEN = 68  # bytes of a token of a completion in main memory, as in `r1kit.plan.memory`
NODE_MEMORY = 2e12  # bytes: a DGX H100 (data sheet)
ENGINES = 64  # simulated of one rollout at most; the slowest of them stands for all
UPDATES = 4  # simulated of one rollout at most


@dataclass(frozen=True)
class Rates:
    """Seconds that a GPU takes."""

    token_step: float
    """Reading the weights."""
    cached: float
    """Reading keys and values of one token, in a token step."""
    generated: float
    """Computing one row of a token step. With many rows these take longer than reading."""
    trained: float
    """Computing one token of an update."""
    attended: float
    """The same, for every earlier token that it attends to."""
    rows: int
    """Completions that an engine generates at the same time, at most."""


@dataclass(frozen=True)
class Job:
    """An rl stage."""

    rates: Rates
    parameters: int
    tensors: int
    """Weight tensors, each of which the learners exchange by itself."""
    prompts: int = 32
    """Of an update."""
    group: int = 16
    updates: int = 16
    """Of a rollout."""
    grading: float = GRADE_SECONDS


@dataclass(frozen=True)
class Result:
    """A rollout with its updates, on some GPUs."""

    gpus: int
    completions: int
    seconds: float
    parts: Mapping[str, float]
    """Seconds by cause; their sum is larger than `seconds` if phases overlap."""
    bottleneck: str
    node_memory: float
    """Bytes of main memory that the completions of a rollout take on a node."""

    @property
    def rate(self) -> float:
        """Completions trained per second and GPU."""
        return self.completions / self.seconds / self.gpus


def log_normal(mean: float, limit: int, seed: int, sigma: float = 1.0) -> Draw:
    """Return lengths whose logarithms are normal, with `mean` before the limit cuts them.

    Half of the variance of the logarithm is between prompts, half between completions of a prompt.
    """
    generator = np.random.default_rng(seed)

    def draw(prompts: int, group: int) -> Lengths:
        z_PG = generator.normal(size=(prompts, 1)) + generator.normal(size=(prompts, group))
        return np.clip(np.rint(mean * np.exp(sigma * z_PG / math.sqrt(2) - sigma**2 / 2)), 1, limit)

    return draw


def resampled(groups: Sequence[Sequence[float]], limit: int, seed: int) -> Draw:
    """Return lengths of groups that were sampled, in proportion so that the longest becomes `limit`."""
    generator = np.random.default_rng(seed)
    scale = limit / max(map(max, groups))

    def draw(prompts: int, group: int) -> Lengths:
        chosen = generator.integers(len(groups), size=prompts)
        rows = [generator.choice(np.asarray(groups[i], dtype=float), group) for i in chosen]
        return np.maximum(1, np.rint(scale * np.stack(rows)))

    return draw


def generate(lengths_N: Lengths, rates: Rates) -> tuple[float, float]:
    """Return the seconds of one engine for its completions, and those with fewer than half of its rows in use.

    Continuous batching: the next completion begins when one ends.
    """
    waiting = [float(length) for length in lengths_N][::-1]
    most, at, cached, seconds, tail = min(rates.rows, len(waiting)), 0.0, 0.0, 0.0, 0.0
    active: list[tuple[float, float]] = []  # token step of the end, and length
    while active or waiting:
        while waiting and len(active) < rates.rows:
            length = waiting.pop()
            heapq.heappush(active, (at + length, length))
        rows, steps = len(active), active[0][0] - at
        # Every step adds a token to each row.
        reading = rates.token_step + rates.cached * (cached + rows * steps / 2)
        spent = steps * max(reading, rates.generated * rows)
        seconds, tail = seconds + spent, tail + (spent if 2 * rows < most else 0.0)
        cached, at = cached + rows * steps, active[0][0]
        while active and active[0][0] == at:
            cached -= heapq.heappop(active)[1]
    return seconds, tail


def rollout(lengths_PG: Lengths, engines: int, rates: Rates, whole_groups: bool) -> tuple[float, float, int]:
    """Return seconds of the slowest engine, those of its tail, and the completions of the engine with the most.

    Args:
        lengths_PG: Lengths of all completions.
        engines: How many generate.
        rates: Of one engine.
        whole_groups: Whether an engine samples all completions of its prompts; else they are dealt one by one.
    """
    P, G = lengths_PG.shape
    dealt = [lengths_PG[i::engines].ravel() for i in range(min(engines, P))]
    if not whole_groups:
        dealt = [lengths_PG.ravel()[i::engines] for i in range(min(engines, P * G))]
    prefill = max(map(len, dealt)) / (G if whole_groups else 1) * PROMPT_TOKENS * rates.generated
    seconds, tail = max(generate(each, rates) for each in dealt[:: -(-len(dealt) // ENGINES)])
    return seconds + prefill, tail, len(dealt[0])


def update(lengths_PG: Lengths, learners: int, rates: Rates, groups_of: int = 1) -> tuple[float, float]:
    """Return seconds of the busiest learner, and those that it would take if all had the same work.

    Groups are dealt if each learner gets `groups_of` of them on average, else completions. r1kit deals groups if there
    is one for each learner (`r1kit.learn.batch.rows_of_rank`).
    """
    seconds_PG = rates.trained * lengths_PG + rates.attended * lengths_PG**2 / 2
    tokens, seconds, prompt = lengths_PG.ravel(), seconds_PG.ravel(), rates.trained * PROMPT_TOKENS
    if len(lengths_PG) >= groups_of * learners:
        tokens, seconds = lengths_PG.sum(1) + PROMPT_TOKENS, seconds_PG.sum(1) + prompt
    else:
        seconds = seconds + prompt
    ranks = [(0.0, rank) for rank in range(learners)]  # tokens so far
    spent = [0.0] * learners
    for i in np.argsort(-tokens, kind="stable"):
        given, rank = ranks[0]
        heapq.heapreplace(ranks, (given + float(tokens[i]), rank))
        spent[rank] += float(seconds[i])
    return max(spent), sum(spent) / learners


def links(learners: Cluster, job: Job) -> float:
    """Return seconds in which learners exchange gradients in 4 bytes and new weights in 2, a tensor at a time."""
    others = learners.count - 1
    if not others:
        return 0.0
    between = learners.nodes - 1
    inside, outside = RING_SECONDS
    latency = (others - between) * inside + between * outside
    return 6 * job.parameters * others / learners.count / learners.link + 2 * job.tensors * latency


def simulate(job: Job, cluster: Cluster, arrangement: Arrangement, draw: Draw, batches: int = 1) -> Result:
    """Return what a rollout and its updates take.

    Args:
        job: The stage.
        cluster: All GPUs.
        arrangement: All GPUs generate, then all train; or half of them are servers, which generate before the
            updates, or beside them for the next ones (`rollouts_ahead`).
        draw: Lengths of completions.
        batches: How often the prompts of the job make an update.
    """
    has_servers = arrangement != "one after another"
    learners, engines = cluster.halves() if has_servers else (cluster, cluster)
    prompts = job.prompts * batches
    lengths_PG = draw(prompts * job.updates, job.group)
    busy, tail, own = rollout(lengths_PG, engines.count, job.rates, not has_servers)
    seen = min(UPDATES, job.updates)
    updates = [update(lengths_PG[i * prompts : (i + 1) * prompts], learners.count, job.rates) for i in range(seen)]
    busiest, even = (job.updates * sum(each) / seen for each in zip(*updates, strict=True))
    tokens, local = float(lengths_PG.sum()), min(cluster.per_node, cluster.count)
    slow = SLOWER * (1 - (1 - SLOW_NODES) ** cluster.nodes)
    sampling = {
        "rollout": busy - tail,
        "tail": tail,
        "grading": max(0.0, own * job.grading / WORKERS - busy) + job.grading,
        "push": 2 * 2 * job.parameters / FILES if has_servers else 0.0,
    }
    training = {
        "updates": even,
        "uneven": busiest - even,
        "links": job.updates * links(learners, job),
        "exchange": _exchange(tokens, learners.count, min(local, learners.count)),
    }
    sampling["slow nodes"], training["slow nodes"] = slow * busy, slow * busiest
    sums = [sum(each.values()) for each in (sampling, training)]
    seconds = max(sums) if arrangement == "servers, ahead" else sum(sums)
    parts = {name: sampling.get(name, 0.0) + training.get(name, 0.0) for name in [*sampling, *training]}
    decisive = parts
    if arrangement == "servers, ahead":
        decisive = sampling if sums[0] > sums[1] else training
    bottleneck = max(decisive, key=lambda name: decisive[name])
    completions = prompts * job.updates * job.group
    return Result(cluster.count, completions, seconds, parts, bottleneck, MEMORY_OF_TOKEN * tokens * local)


def _exchange(tokens: float, processes: int, local: int) -> float:
    """Return seconds in which every process gets the completions of all others; `local` of them share a node."""
    others = tokens * (processes - 1) / processes
    return others * OBJECT_BYTES * local / NODE_TCP + others * OBJECT_SECONDS if others else 0.0

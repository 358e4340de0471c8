"""The simulation of many GPUs: cases computed by hand, and agreement with the plan where both say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from paths import ROOT

from r1kit.config.stage import PROMPT_TOKENS
from r1kit.plan.gpus import GPUS, Cluster
from r1kit.plan.hours import seconds
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.plan.memory import Setting
from r1kit.plan.share import share
from r1kit.plan.work import Work
from r1kit.recipe import load_recipe


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import scale_model

    return scale_model


@pytest.fixture
def simulation(model: ModuleType) -> ModuleType:
    import scale_simulation

    return scale_simulation


def rates(model: ModuleType, **changes: float):
    return replace(model.Rates(1.0, 0.0, 0.0, 1.0, 0.0, rows=2), **changes)


@pytest.mark.parametrize(
    ("lengths", "changes", "expected"),
    [
        ([4], {}, 4),
        ([4], {"cached": 0.1}, 4 + 0.1 * 8),  # four steps with 0 to 4 tokens, 2 on average
        ([4, 2, 3], {}, 5),  # the third begins after 2 steps
        ([2, 6], {"cached": 1.0}, 2 * (1 + 2) + 4 * (1 + 4)),  # 2 rows to 2 tokens; then 1 row from 2 to 6
        ([3, 3], {"generated": 2.0}, 3 * 4),  # computing two rows takes longer than reading
    ],
)
def test_engine_with_two_rows(model: ModuleType, lengths: list[int], changes: dict[str, float], expected: int) -> None:
    assert model.generate(np.array(lengths), rates(model, **changes))[0] == pytest.approx(expected)


def test_tail_is_the_time_with_fewer_than_half_of_the_rows(model: ModuleType) -> None:
    assert model.generate(np.array([2, 2, 2, 6]), rates(model, rows=4)) == (6, 4)
    assert model.generate(np.array([2, 2, 6, 6]), rates(model, rows=4)) == (6, 0)


def test_groups_stay_together_on_engines_and_not_on_servers(model: ModuleType) -> None:
    lengths_PG, one = np.array([[1.0, 1.0, 9.0, 9.0]]), rates(model, rows=1)
    assert model.rollout(lengths_PG, 4, one, whole_groups=True)[::2] == (20, 4)
    assert model.rollout(lengths_PG, 4, one, whole_groups=False)[::2] == (9, 1)
    computed = rates(model, rows=4, generated=0.01)
    assert model.rollout(lengths_PG, 1, computed, whole_groups=True)[0] == pytest.approx(9 + 0.01 * PROMPT_TOKENS)


def test_update_waits_for_the_learner_with_the_most_tokens(model: ModuleType) -> None:
    lengths_PG, one = np.array([[4.0, 4.0], [2.0, 2.0]]), rates(model)
    assert model.update(lengths_PG, 2, one) == (8 + PROMPT_TOKENS, 6 + PROMPT_TOKENS)
    assert model.update(lengths_PG, 4, one) == (4 + PROMPT_TOKENS, 3 + PROMPT_TOKENS)  # by completion
    assert model.update(lengths_PG, 2, one, groups_of=2) == (6 + 2 * PROMPT_TOKENS,) * 2
    attending = rates(model, attended=1.0)
    assert model.update(lengths_PG, 1, attending)[0] == 12 + 2 * PROMPT_TOKENS + 2 * 8 + 2 * 2


def test_links_take_bytes_and_two_rings_a_tensor(model: ModuleType) -> None:
    job = model.Job(rates(model), parameters=10**9, tensors=10)
    assert model.links(Cluster(1, 1, GPUS["H100"]), job) == 0
    assert model.links(Cluster(1, 8, GPUS["H100"]), job) == pytest.approx(6e9 * 7 / 8 / 450e9 + 20 * 7 * 1.9e-6)
    ring = 14 * 1.9e-6 + 4e-6
    assert model.links(Cluster(2, 8, GPUS["H100"]), job) == pytest.approx(6e9 * 15 / 16 / 50e9 + 20 * ring)


def test_lengths_have_their_mean_and_limit_and_repeat(model: ModuleType) -> None:
    lengths_PG = model.log_normal(100, 10**9, seed=0)(20_000, 8)
    assert lengths_PG.mean() == pytest.approx(100, rel=0.03)
    assert np.log(lengths_PG).std() == pytest.approx(1, rel=0.03)
    assert model.log_normal(100, 150, seed=0)(1000, 8).max() == 150
    assert (model.log_normal(100, 150, seed=0)(9, 8) == model.log_normal(100, 150, seed=0)(9, 8)).all()
    own = model.resampled([[1, 2], [4, 4]], limit=400, seed=0)(50, 16)
    assert {*own.ravel()} == {100, 200, 400}
    assert all({*row} <= {100, 200} or {*row} == {400} for row in own)


def test_phases_add_up_and_overlap(model: ModuleType) -> None:
    job = model.Job(rates(model, rows=64), parameters=10**9, tensors=10, prompts=4, group=4, updates=2)
    cluster = Cluster.parse("8xH100")
    results = {
        name: model.simulate(job, cluster, name, model.log_normal(100, 1000, seed=0))
        for name in ("one after another", "servers", "servers, ahead")
    }
    for name in ("one after another", "servers"):
        assert results[name].seconds == pytest.approx(sum(results[name].parts.values()))
        assert results[name].completions == 32
    assert results["one after another"].parts["push"] == 0 < results["servers"].parts["push"]
    assert results["servers, ahead"].parts == results["servers"].parts
    ahead, apart = results["servers, ahead"].seconds, results["servers"].seconds
    assert apart / 2 <= ahead < apart


def test_part_that_does_not_shrink_becomes_the_largest(model: ModuleType) -> None:
    job = model.Job(rates(model, rows=512), parameters=10, tensors=1, updates=1)
    found = []
    for count in (1, 8, 512):
        result = model.simulate(job, Cluster.of(count, GPUS["H100"]), "one after another", lambda p, g: np.ones((p, g)))
        found.append((result.bottleneck, result.rate))
    assert found[0][0] == found[1][0] == "updates"
    assert found[0][1] == pytest.approx(found[1][1], rel=0.01) and found[2][1] < found[1][1] / 4


def test_equal_lengths_take_what_the_plan_says(model: ModuleType, simulation: ModuleType) -> None:
    name, length, count = "Qwen/Qwen2.5-1.5B", 2000, 64
    cluster, shape = Cluster.parse("1xH100"), KNOWN_SHAPES[name]
    job, _ = simulation.planned(name, cluster, "one after another")
    zero = load_recipe("r1-qwen-7b", [f"stage.zero.model={name}", "stage.zero.recompute=on"]).stage["zero"]
    held = share(zero, shape, Setting("cuda", "bfloat16", count), cluster, "native")
    work = Work(length, length, 1, count, count // 16, 1, count, 16)
    planned = seconds(zero, work, shape, held, count)
    lengths_PG = np.full((count // 16, 16), float(length))
    assert model.rollout(lengths_PG, 1, job.rates, True)[0] == pytest.approx(planned.rollout, rel=1e-6)
    assert model.update(lengths_PG, 1, job.rates)[0] == pytest.approx(planned.learning, rel=0.01)


def test_run_of_one_process_gives_rates_and_lengths(tmp_path: Path, simulation: ModuleType) -> None:
    config = {"prompts_per_step": 1, "num_generations": 2, "steps_per_rollout": 2}
    (tmp_path / "artifact.json").write_text(json.dumps({"config": config}))
    rows = [{"step": step, "completions/max_length": 50.0, "tokens": 300} for step in (1, 2, 3, 4, 5)]
    times = [
        {"step": step, "time/update": 3.0, "time/rollout": 5.0 * (step % 2), "time/grade": 0.4} for step in range(6)
    ]
    for name, lines in (("metrics", rows), ("timings", times)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "rollouts").mkdir()
    kept = [{"step": 1, "prompt_id": "a", "tokens": tokens} for tokens in (10, 50)]
    (tmp_path / "rollouts/step_000001.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    job, draw = simulation.measured(tmp_path, 1000, 3)
    assert job.rates.token_step == pytest.approx(5 / 50)
    assert job.rates.trained == pytest.approx(3 / 300)
    assert job.grading == pytest.approx(0.4 / 4) and job.rates.rows == 4
    assert {*draw(20, 2).ravel()} == {10, 50}


def test_bottlenecks_are_named_where_they_change(model: ModuleType, simulation: ModuleType) -> None:
    names = {8: "updates", 16: "updates", 32: "tail", 64: "links"}
    results = [model.Result(gpus, 1, 1.0, {}, name, 0.0) for gpus, name in names.items()]
    assert simulation.bottlenecks(results) == "updates from 8, tail from 32, links from 64"

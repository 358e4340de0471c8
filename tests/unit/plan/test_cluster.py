"""A recipe on a cluster: memory by its formula, hours by hand, and changes that do what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from r1kit import errors, plan
from r1kit.plan.cluster import SERVERS
from r1kit.plan.gpus import GPUS, NETWORK
from r1kit.plan.hours import PEAK_SHARE
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.plan.memory import VLLM_RESERVE
from r1kit.plan.work import MEAN_SHARE
from r1kit.recipe import load_recipe

RECIPE = """
name = "p"
max_concurrent = 64
[stage.zero]
kind = "rl"
model = "{model}"
prompts = ["world:arithmetic"]
steps = 32
max_completion_length = 4096
micro_batch_tokens = 4096
"""
SFT = """
name = "p"
[stage.tuned]
kind = "sft"
model = "{model}"
data = ["{data}"]
recompute = "on"
"""

SHARDED = f"{RECIPE.replace('4096', '32768')}shard_weights = true\nrecompute = 'on'\n"
EVALUATE = """
name = "p"
[stage.measured]
kind = "evaluate"
model = "{model}"
samples = 16
benchmarks.maths = [{{ source = "HuggingFaceH4/MATH-500", split = "test" }}]
"""


def plan_of(
    tmp_path: Path, gpus: str, *overrides: str, model: str = "Qwen/Qwen2.5-1.5B", text: str = RECIPE
) -> plan.ClusterPlan:
    (tmp_path / "p.toml").write_text(text.format(model=model, data="openai/gsm8k:main"))
    return plan.cluster_plan(load_recipe(str(tmp_path / "p.toml"), [*overrides]), plan.Cluster.parse(gpus))


@pytest.mark.parametrize(
    ("text", "nodes", "count"), [("1xH100", 1, 1), ("8xh100", 1, 8), ("64x8xH800", 64, 512), ("512xH800", 64, 512)]
)
def test_clusters_are_read(text: str, nodes: int, count: int) -> None:
    cluster = plan.Cluster.parse(text)
    assert (cluster.nodes, cluster.count) == (nodes, count)
    assert plan.Cluster.parse(str(cluster)) == cluster


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("H100", "must be GPUSxNAME"),
        ("8xH10", "must be one of A100"),
        ("0xH100", "must be 1 to"),
        ("12xH100", "must fill nodes of 8"),
        ("8x8x8xH100", "must be GPUSxNAME"),
        ("٨xH100", "must be GPUSxNAME"),
        ("99999999999999999999xH100", "must be 1 to"),
    ],
)
def test_other_texts_are_refused(text: str, reason: str) -> None:
    with pytest.raises(errors.UserError, match=re.escape(reason)):
        plan.Cluster.parse(text)


def test_gpus_have_plausible_facts() -> None:
    for gpu in GPUS.values():
        assert 40e9 <= gpu.memory <= 300e9 and 0.5e12 <= gpu.bandwidth <= 1e13 and 1e14 <= gpu.flops <= 3e15
        assert gpu.link < gpu.bandwidth and 0.5 <= gpu.price <= 10


def test_memory_of_several_gpus_is_6_and_16_over_n_bytes_a_parameter(tmp_path: Path) -> None:
    n = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"].parameter_count()
    held = {}
    for count in (2, 8):
        (stage,) = plan_of(tmp_path, f"{count}xH100", "stage.zero.beta=0").stages
        assert stage.share is not None
        held[count] = stage.share.learning
        state = sum(held[count][name] for name in ("weights", "gradients", "master", "optimizer"))
        assert state == pytest.approx((6 + 16 / count) * n, rel=1e-6)
    assert held[2]["activations"] == held[8]["activations"]
    (stage,) = plan_of(tmp_path, "8xH100").stages
    assert stage.share is not None and stage.share.learning["reference"] == 2 * n


def test_memory_of_shared_weights_is_16_over_n_bytes_a_parameter(tmp_path: Path) -> None:
    n = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"].parameter_count()
    for count in (2, 8):
        (stage,) = plan_of(tmp_path, f"{count}xH100", "stage.zero.shard_weights=true").stages
        assert stage.share is not None
        held = stage.share.learning
        state = sum(held[name] for name in ("gradients", "master", "optimizer"))
        assert state == pytest.approx(16 / count * n, rel=1e-6) and held["reference"] == 2 * n // count
        assert 2 * n / 28 < held["gathered"] < 4 * n


@pytest.mark.parametrize("shard_weights", ["false", "true"])
def test_a_critic_is_counted_on_each_gpu(tmp_path: Path, shard_weights: str) -> None:
    n, keys = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"].parameter_count(), [f"stage.zero.shard_weights={shard_weights}"]
    (plain,), (ppo,) = (plan_of(tmp_path, "8xH100", *keys, *more).stages for more in ([], ["stage.zero.objective=ppo"]))
    held = {name: ppo.share.learning[name] for name in ("critic", "critic_state")}
    assert ppo.share.peak - plain.share.peak == sum(held.values())
    expected = {"critic": 0 if shard_weights == "true" else 2 * n, "critic_state": 12 * n // 8}
    assert held == pytest.approx(expected, rel=1e-4)
    assert ppo.hours > plain.hours


def test_one_gpu_has_the_memory_of_the_plan_for_this_machine(tmp_path: Path) -> None:
    (stage,) = plan_of(tmp_path, "1xH100").stages
    (here,) = plan.make_plan(load_recipe(str(tmp_path / "p.toml"), ["device=cuda", "dtype=bfloat16"])).stages
    assert stage.share is not None
    parts = ("weights", "master", "optimizer", "reference", "gradients", "activations", "attention", "logits")
    assert {name: stage.share.learning[name] for name in parts} == {name: here.memory[name] for name in parts}


def test_rollout_takes_as_long_as_reading_the_weights_for_its_longest_completion(tmp_path: Path) -> None:
    shape, gpu = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"], GPUS["H100"]
    (stage,) = plan_of(tmp_path, "512xH100", "max_concurrent=16").stages
    assert stage.parts is not None and stage.rows == 16  # 8,192 completions over 512 GPUs
    ((_, time),) = stage.parts
    mean, cache = MEAN_SHARE * 4096, 2 * 28 * 2 * 128 * 2
    prefill = 2 * shape.parameter_count() * 128 / (PEAK_SHARE * gpu.flops)
    floor = (4096 * 2 * shape.parameter_count() + 16 * mean**2 * cache) / gpu.bandwidth
    assert time.rollout == pytest.approx(floor + prefill)
    (stage,) = plan_of(tmp_path, "512xH100", "max_concurrent=1").stages  # each engine one after another
    assert stage.parts is not None
    assert stage.parts[0][1].rollout > 2 * floor


def test_update_takes_as_long_as_its_products_and_on_many_gpus_as_one_completion(tmp_path: Path) -> None:
    n, rate = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"].parameter_count(), PEAK_SHARE * GPUS["H100"].flops
    times = {}
    for gpus in ("1xH100", "8xH100", "64x8xH100", "512x8xH100"):
        (stage,) = plan_of(tmp_path, gpus, "stage.zero.recompute=off").stages
        assert stage.parts is not None
        times[gpus] = stage.parts[0][1].learning
    tokens = 512 * MEAN_SHARE * 4096 + 32 * 128
    products = 8 * n * tokens / rate  # forward, backward and reference
    assert products < times["1xH100"] < 1.1 * products
    assert times["8xH100"] == pytest.approx(times["1xH100"] / 8)
    assert times["64x8xH100"] == times["512x8xH100"] > 8 * n * 4096 / rate


def test_with_rollouts_ahead_servers_generate_while_others_train(tmp_path: Path) -> None:
    servers = 'engine=["http://n2:8000"]'
    turns, ahead, shared = (
        plan_of(tmp_path, "16xH100", *overrides).stages[0]
        for overrides in ((servers,), (servers, "stage.zero.rollouts_ahead=1"), ("stage.zero.rollouts_ahead=1",))
    )
    assert turns.parts is not None and ahead.parts is not None and shared.parts is not None
    (work, time), (_, same) = ahead.parts[0], turns.parts[0]
    generating, training = work.rollouts * (time.rollout + time.push), work.steps * (time.learning + time.links)
    assert time.total(work) == max(generating, training) and same.total(work) == generating + training
    assert not shared.parts[0][1].overlaps


def test_shared_weights_are_gathered_for_every_micro_batch(tmp_path: Path) -> None:
    n, times = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"].parameter_count(), {}
    for key in ("beta=0", "shard_weights=true"):
        (stage,) = plan_of(tmp_path, "8xH100", f"stage.zero.{key}").stages
        assert stage.parts is not None
        times[key] = stage.parts[0][1].links
    one = n * 7 / 8 / GPUS["H100"].link
    micro_batches = -(-(512 * MEAN_SHARE * 4096 + 32 * 128) // 8 // 4096)
    assert micro_batches == 11
    assert [*times.values()] == pytest.approx([6 * one, micro_batches * 10 * one])


def test_experts_count_in_memory_and_active_ones_in_time(tmp_path: Path) -> None:
    shape = KNOWN_SHAPES["deepseek-ai/DeepSeek-V3-Base"]
    assert shape.active_parameters() == pytest.approx(37e9, rel=0.02)  # as its model card says
    assert shape.served_cache_width == 512 + 64
    (stage,) = plan_of(tmp_path, "512xH800", model="deepseek-ai/DeepSeek-V3-Base").stages
    assert stage.share is not None and stage.share.learning["weights"] == 2 * shape.parameter_count()
    assert "with shard_weights = true)" in stage.refusal


@pytest.mark.parametrize(
    ("gpus", "model", "text"),
    [
        ("8xH100", "Qwen/Qwen2.5-7B", RECIPE),
        ("8xH100", "Qwen/Qwen2.5-14B", RECIPE),
        ("8xH200", "Qwen/Qwen2.5-14B", SFT),
        ("8xL40S", "Qwen/Qwen2.5-7B", SFT),
        ("8x8xB200", "Qwen/Qwen2.5-72B", SHARDED),
    ],
)
def test_stage_fits_after_the_changes_that_its_refusal_names(tmp_path: Path, gpus: str, model: str, text: str) -> None:
    (refused,) = plan_of(tmp_path, gpus, model=model, text=text).stages
    assert refused.refusal.startswith(f"stage.{refused.name}.model = {model}: ")
    ways = refused.refusal.rpartition(": ")[2].split("; or ")
    assert len(ways) > 1
    for way in ways:
        if cluster := re.fullmatch(r"use ((\d+x)+[A-Z]\w+)", way):
            assert plan_of(tmp_path, cluster[1], model=model, text=text).errors == {}, way
            continue
        if way == SERVERS:
            assert plan_of(tmp_path, gpus, 'engine=["http://node:8000"]', model=model, text=text).errors == {}
            continue
        texts = re.split(", | and ", way.removeprefix("set "))
        keys = [f"stage.{refused.name}.{text.replace(' = ', '=')}" for text in texts]
        assert plan_of(tmp_path, gpus, *keys, model=model, text=text).errors == {}, way


def test_vllm_in_the_same_process_has_its_own_weights(tmp_path: Path) -> None:
    tokens = {}
    for engine in ("native", "vllm"):
        (stage,) = plan_of(tmp_path, "8xH100", f"engine={engine}").stages
        assert stage.share is not None and not stage.refusal
        tokens[engine] = stage.share.cache_tokens * stage.share.token_bytes
    n = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"].parameter_count()
    assert tokens["vllm"] < tokens["native"] - 2 * n - VLLM_RESERVE["cuda"]


def test_servers_take_half_of_the_gpus_and_several_for_a_large_model(tmp_path: Path) -> None:
    planned = plan_of(tmp_path, "16xH100", 'engine=["http://node:8000"]', model="Qwen/Qwen2.5-72B")
    (stage,) = planned.stages
    assert stage.share is not None and stage.share.engine_gpus == 4
    assert (stage.share.learners.count, stage.share.engines.count) == (8, 8)
    assert "vLLM servers have half of the GPUs" in plan.render_cluster(planned)


def test_servers_get_the_weights_over_the_network_before_each_rollout(tmp_path: Path) -> None:
    n = KNOWN_SHAPES["Qwen/Qwen2.5-1.5B"].parameter_count()
    for engine, pushed in (('["http://node:8000"]', 2 * n / NETWORK), ("native", 0)):
        (stage,) = plan_of(tmp_path, "32xH100", f"engine={engine}").stages
        assert stage.parts is not None
        assert stage.parts[0][1].push == pytest.approx(pushed)


def test_every_learner_sends_as_many_requests_as_max_concurrent_allows(tmp_path: Path) -> None:
    servers = 'engine=["http://node:8000"]'
    (stage,) = plan_of(tmp_path, "16xH100", servers, "max_concurrent=16").stages
    assert stage.rows == 16  # 8 learners, each with 2 requests at each of 8 servers
    (stage,) = plan_of(tmp_path, "16xH100", servers, "max_concurrent=16", text=EVALUATE).stages
    assert stage.rows == 2  # the first process alone


def test_groups_are_sampled_where_their_prompt_is(tmp_path: Path) -> None:
    rows = {}
    for engine in ("native", '["http://node:8000"]'):
        (stage,) = plan_of(tmp_path, "256x8xH100", f"engine={engine}").stages
        rows[engine] = stage.rows
    assert [*rows.values()] == [16, 8]  # 512 prompts, 16 completions each: for 512 of 2,048 GPUs; for 1,024 servers


def test_evaluation_uses_one_gpu_or_all_servers(tmp_path: Path) -> None:
    hours = {}
    for gpus in ("1xH100", "8xH100"):
        hours[gpus] = plan_of(tmp_path, gpus, "max_concurrent=4096", text=EVALUATE).hours
    assert hours["1xH100"] == hours["8xH100"] > 0
    servers = plan_of(tmp_path, "16xH100", "max_concurrent=4096", 'engine=["http://node:8000"]', text=EVALUATE)
    assert servers.hours < hours["8xH100"]
    text = "Stages that do not train generate on one GPU"
    assert text in plan.render_cluster(plan_of(tmp_path, "8xH100", text=EVALUATE))
    assert text not in plan.render_cluster(servers)


def test_hours_are_the_sum_of_rollouts_and_updates(tmp_path: Path) -> None:
    planned = plan_of(tmp_path, "8xH100", "stage.zero.max_completion_length={0=1024, 16=4096}")
    (stage,) = planned.stages
    assert stage.parts is not None and [work.rollouts for work, _ in stage.parts] == [1, 1]
    spent = sum(time.rollout + 16 * (time.learning + time.links) for _, time in stage.parts)
    assert planned.hours == pytest.approx(spent / 3600)
    assert planned.cost(planned.hours) == pytest.approx(planned.hours * 8 * GPUS["H100"].price)


def test_time_is_unknown_where_the_data_decides(tmp_path: Path) -> None:
    (known,) = plan_of(tmp_path, "8xH100", text=SFT).stages
    assert known.parts is not None and known.parts[0][0].steps == 2 * -(-7473 // 128)
    unknown = plan_of(tmp_path, "8xH100", 'stage.tuned.data=["someone/something"]', text=SFT)
    assert unknown.unknown == ["tuned"] and unknown.hours == 0
    assert "Unknown before the data is read, and not in the total: tuned" in plan.render_cluster(unknown)


@pytest.mark.parametrize("name", ["r1-qwen-7b", "r1-deepseek-v3", "sprout-r1", "zero-smollm2", "distill-llama-70b"])
def test_bundled_recipes_are_planned(name: str) -> None:
    planned = plan.cluster_plan(load_recipe(name), plan.Cluster.parse("8xH100"))
    assert json.loads(json.dumps(planned.to_json()))["gpu_hours"] == pytest.approx(8 * planned.hours)
    assert len(plan.render_cluster(planned).splitlines()) > len(planned.stages)


def test_longer_completions_take_longer(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(RECIPE.format(model="Qwen/Qwen2.5-1.5B"))
    recipe, cluster = load_recipe(str(tmp_path / "p.toml")), plan.Cluster.parse("8xH100")
    short, long = (plan.cluster_plan(recipe, cluster, mean).hours for mean in (100, 2000))
    assert 2 * short < long

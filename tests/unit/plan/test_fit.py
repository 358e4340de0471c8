"""What cannot fit in this machine's memory is refused, with what would make it fit."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from r1kit import machine, plan
from r1kit.config import stage as plan_config
from r1kit.engine import prepacked
from r1kit.engine.vllm import local
from r1kit.learn import checkpoint, logprobs
from r1kit.model import attention
from r1kit.plan import memory, outline
from r1kit.recipe import load_recipe
from r1kit.run.preflight import preflight

STAGES = {
    "rl": 'prompts = ["world:arithmetic"]\nmax_completion_length = 512\n',
    "sft": 'data = ["world:talk"]\n',
    "preference": 'data = ["pairs.jsonl"]\n',
    "evaluate": 'benchmarks = { sums = ["world:arithmetic"] }\n',
}
MODEL = "Qwen/Qwen2.5-1.5B"


def plan_of(tmp_path: Path, kind: str, *overrides: str, model: str = MODEL) -> plan.Plan:
    """Plan one stage "s" in bfloat16."""
    (tmp_path / "p.toml").write_text(f'name = "p"\n[stage.s]\nkind = "{kind}"\nmodel = "{model}"\n{STAGES[kind]}')
    return plan.make_plan(load_recipe(str(tmp_path / "p.toml"), ["dtype=bfloat16", *overrides]))


def give(monkeypatch: pytest.MonkeyPatch, *, main: float, gpu: float = 0) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: int(main))
    monkeypatch.setattr(machine, "gpu_memory", lambda: int(gpu))


def test_constants_of_the_formula_are_those_of_the_code() -> None:
    assert memory.LOGIT_CHUNK == logprobs.CHUNK_ELEMENTS and memory.PACKED_SHARE == prepacked.MEMORY_SHARE
    assert memory.QUERY_BLOCK == attention.QUERY_BLOCK and outline.CHECKPOINTS == checkpoint.KEEP + 1


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize(("main", "gpu"), [(1e9, 0), (200e9, 1e9)], ids=["cpu", "gpu"])
def test_refusal_names_three_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, main: float, gpu: float
) -> None:
    give(monkeypatch, main=main, gpu=gpu)
    text = plan_of(tmp_path, kind).errors["s"]
    assert text.startswith(f"stage.s.model = {MODEL}: 1.54B parameters")
    assert f"but this {'GPU' if gpu else 'machine'} has 1.0 GB: " in text and text.count("; or ") >= 2


@pytest.mark.parametrize(("kind", "gpu"), [("rl", 16e9), ("rl", 24e9), ("sft", 24e9), ("preference", 24e9)])
def test_stage_fits_after_the_changes_that_its_refusal_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, gpu: float
) -> None:
    give(monkeypatch, main=200e9, gpu=gpu)
    ways = plan_of(tmp_path, kind).errors["s"].partition(" GB: ")[2].split("; or ")
    changes = [way.removeprefix("set ") for way in ways if way.startswith("set ")]
    assert changes
    for change in changes:
        keys = [f"stage.s.{text.replace(' = ', '=')}" for text in re.split(", | and ", change)]
        assert plan_of(tmp_path, kind, *keys).errors == {}, change
    enough = re.search(r"GPU with at least (\S+) GB", ways[-1])
    assert enough is not None
    give(monkeypatch, main=200e9, gpu=(float(enough[1]) + 0.1) * 1e9)
    assert plan_of(tmp_path, kind).errors == {}


def test_long_completions_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, main=20e9)
    planned = plan_of(tmp_path, "evaluate", "stage.s.max_completion_length=8192")
    assert planned.errors == {}
    (warning,) = planned.warnings
    assert re.match(r"stage\.s: a KV cache for max_concurrent = 512 .* needs \d+\.\d GB and has", warning)
    assert 0.8 * 20e9 < planned.stages[0].memory["peak"] <= 0.9 * 20e9
    (same,) = plan_of(tmp_path, "evaluate", f"kv_cache_tokens={planned.stages[0].kv_cache_tokens}",
                      "stage.s.max_completion_length=8192").stages  # fmt: skip
    assert same == planned.stages[0]
    longest = plan_of(tmp_path, "evaluate", "stage.s.max_completion_length=1000000").stages[0]
    assert longest.kv_cache_tokens == 1_000_000 + plan_config.PROMPT_TOKENS, "one completion, however long"
    given = plan_of(tmp_path, "evaluate", "kv_cache_tokens=1000").stages[0]
    assert given.kv_cache_tokens == 1000 and given.memory["kv_cache"] < 0.1e9


def test_checkpoints_need_main_memory_beside_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, main=10e9, gpu=80e9)
    assert "GB of main memory for checkpoints" in plan_of(tmp_path, "sft", "stage.s.context_length=1024").errors["s"]


CACHE, VLLM = "kv_cache_tokens=1000", "engine=vllm"  # of the recipe


def test_means_to_save_memory_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, main=400e9, gpu=200e9)

    def parts(*keys: str) -> dict[str, int]:
        overrides = (key if key in (CACHE, VLLM) else f"stage.s.{key}" for key in keys)
        return dict(plan_of(tmp_path, "rl", *overrides).stages[0].memory)

    plain = parts()
    assert parts("adam_8bit=true")["optimizer"] * 4 == plain["optimizer"]
    assert parts("recompute=on")["activations"] < plain["activations"] / 8
    offloaded = parts("offload=true")
    moved = sum(plain[name] for name in ("master", "gradients", "optimizer", "reference"))
    assert offloaded["main_memory"] - plain["main_memory"] == plain["peak"] - offloaded["peak"] == moved
    ahead = parts("rollouts_ahead=1", CACHE)
    assert (
        "vllm" not in plain
        and ahead["sampling_weights"] == ahead["weights"]
        and ahead["completions"] == 2 * plain["completions"]
    )
    alternating = parts(CACHE)
    assert ahead["checkpoint"] - alternating["checkpoint"] == ahead["weights"]
    generation = sum(ahead[name] for name in ("kv_cache", "sampling"))
    assert ahead["peak"] - alternating["peak"] == ahead["weights"] + generation, "training and generation together"
    vllm = parts(VLLM, CACHE)
    assert vllm["vllm"] == local.GPU_RESERVE + vllm["weights"]
    assert vllm["peak"] - alternating["peak"] == vllm["vllm"] + generation, "its cache stays while the stage trains"
    ppo, adapted = parts("objective=ppo"), parts("objective=ppo", "lora_rank=16")
    assert ppo["critic"] == pytest.approx(plain["weights"], rel=1e-3), "the head of this model is tied"
    assert ppo["critic_state"] == 6 * ppo["critic"] and adapted["critic"] == ppo["critic"]
    assert ppo["peak"] - plain["peak"] >= ppo["critic"] + ppo["critic_state"] > 50 * adapted["critic_state"]
    assert ppo["checkpoint"] - plain["checkpoint"] == ppo["critic_state"]
    of_critic = parts("objective=ppo", "critic={ adam_8bit = true }")["critic_state"]
    assert of_critic * 2 == ppo["critic_state"]
    offloaded = parts("objective=ppo", "offload=true")
    assert offloaded["main_memory"] - parts("offload=true")["main_memory"] >= ppo["critic_state"]
    adapted = parts("lora_rank=16")
    assert adapted["weights"] == plain["weights"] and adapted["optimizer"] < plain["optimizer"] / 50


def test_processes_share_this_machine_and_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, main=100e9)

    def planned(*keys: str, kind: str = "rl") -> dict[str, int]:
        return dict(plan_of(tmp_path, kind, "kv_cache_tokens=1000", *keys).stages[0].memory)

    alone, default, split = planned(), planned("processes=4"), planned("processes=4", "stage.s.shard_weights=true")
    for name in ("master", "optimizer"):
        assert 4 * default[name] == 4 * split[name] == alone[name]
    assert default["gradients"] == 5 * alone["gradients"] // 4 and 4 * split["gradients"] == alone["gradients"]
    assert default["reference"] == alone["reference"] == 4 * split["reference"]
    assert split["gathered"] == default["weights"] == alone["weights"] > split["weights"]
    assert planned("stage.s.shard_weights=true") == alone, "one process has nothing to share"
    assert "25.0 GB for each of 4 processes" in plan_of(tmp_path, "sft", "processes=4").errors["s"]


def test_refusal_names_shared_weights_where_they_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, main=800e9, gpu=40e9)
    keys = ("processes=8", "stage.s.recompute=on", "stage.s.context_length=1024")
    assert "set shard_weights = true" in plan_of(tmp_path, "sft", *keys, model="Qwen/Qwen2.5-7B").errors["s"]
    assert not plan_of(tmp_path, "sft", *keys, "stage.s.shard_weights=true", model="Qwen/Qwen2.5-7B").errors


def test_reward_models_are_counted(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        f'name = "p"\ndevice = "cuda"\n[stage.good]\nkind = "preference"\nmodel = "{MODEL}"\ndata = ["pairs.jsonl"]\n'
        f'[stage.s]\nkind = "rl"\nmodel = "{MODEL}"\nprompts = ["world:arithmetic"]\n'
        '[[stage.s.general]]\nprompts = ["world:talk"]\nrewards = { good = 1.0 }\n'
    )
    stage = plan.make_plan(load_recipe(str(tmp_path / "p.toml"))).stages[1]
    assert stage.memory["reward_models"] == stage.memory["weights"] > 3e9


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.toml").write_text(f'name = "p"\n[stage.s]\nkind = "rl"\nmodel = "sprout-base"\n{STAGES["rl"]}')
    recipe = load_recipe(str(tmp_path / "p.toml"))
    assert preflight(recipe, run_dir=tmp_path / "run")[1] == []
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    (reason,) = preflight(recipe, run_dir=tmp_path / "run")[1]
    assert reason.startswith(f"{tmp_path / 'run'}: checkpoints and models need ") and "1.0 MB are free" in reason
    written = tmp_path / "run" / "stages" / "s" / "checkpoints"
    written.mkdir(parents=True)
    (written / "step").write_bytes(bytes(100_000_000))  # a stage that continues has written its own already
    assert preflight(recipe, run_dir=tmp_path / "run")[1] == []


@pytest.mark.slow
def test_recipe_for_a_large_gpu_is_refused_fast() -> None:
    if max(machine.memory_bytes(), machine.gpu_memory()) > 300e9:
        pytest.skip("this machine is large enough")
    command = [sys.executable, "-m", "r1kit", "check", "r1-qwen-7b"]
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    refused = [text for text in json.loads(done.stdout)["errors"] if text.startswith("stage.zero.model = Qwen")]
    assert done.returncode == 2 and refused[0].count("; or ") >= 2 and refused[0] in done.stderr
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 3, "CPU seconds: half as many on an idle machine"

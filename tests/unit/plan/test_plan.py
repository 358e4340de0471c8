"""The plan: batch sizes as in the paper, parameter counts as in transformers, memory by its formula."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import transformers

from r1kit import machine, plan
from r1kit.config.stage import PROMPT_TOKENS
from r1kit.evals.task import find_task
from r1kit.plan.known_shapes import KNOWN_SHAPES
from r1kit.plan.memory import BASE_BYTES
from r1kit.recipe import load_recipe

RECIPE = """
name = "p"
[stage.zero]
kind = "rl"
model = "{model}"
prompts = ["world:arithmetic"]
"""


def plan_of(tmp_path: Path, *overrides: str, model: str = "Qwen/Qwen2.5-0.5B") -> plan.Plan:
    (tmp_path / "p.toml").write_text(RECIPE.format(model=model))
    return plan.make_plan(load_recipe(str(tmp_path / "p.toml"), ["device=cuda", *overrides]))


def test_default_batch_sizes_are_the_papers(tmp_path: Path) -> None:
    counts = plan_of(tmp_path).stages[0].counts
    assert counts["completions_per_step"] == 512 and counts["completions_per_rollout"] == 8192
    assert (counts["rollouts"], counts["reference_windows"], counts["completions"]) == (650, 26, 5_324_800)


@pytest.mark.parametrize("name", [name for name, shape in KNOWN_SHAPES.items() if shape.is_native])
def test_known_shapes_have_as_many_parameters_as_in_transformers(name: str) -> None:
    shape = KNOWN_SHAPES[name]
    keys = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads",
    )  # fmt: skip
    rest = {"head_dim": shape.head_dim, "tie_word_embeddings": shape.tie_word_embeddings}
    config = transformers.AutoConfig.for_model(shape.model_type, **{key: getattr(shape, key) for key in keys}, **rest)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) == shape.parameter_count()  # tied weights count once


@pytest.mark.parametrize(
    ("name", "billions"),
    [("Qwen/Qwen2.5-1.5B", 1.54), ("Qwen/Qwen2.5-7B", 7.62), ("Qwen/Qwen2.5-32B", 32.8),
     ("meta-llama/Llama-3.1-8B", 8.03), ("Qwen/Qwen3-0.6B-Base", 0.596), ("Qwen/Qwen3-4B-Base", 4.02),
     ("Qwen/Qwen3-8B-Base", 8.19), ("meta-llama/Llama-3.3-70B-Instruct", 70.6),
     ("deepseek-ai/DeepSeek-V3-Base", 671.0)],
)  # fmt: skip
def test_known_shapes_have_as_many_parameters_as_their_model_cards_say(name: str, billions: float) -> None:
    assert KNOWN_SHAPES[name].parameter_count() / 1e9 == pytest.approx(billions, rel=0.005)


def test_a_recipe_on_deepseek_v3_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64 * 10**9)
    recipe = load_recipe("r1-deepseek-v3")
    planned = plan.make_plan(recipe)
    assert "671B parameters with gradients, optimizer and activations need at least" in planned.errors["zero"]
    assert planned.errors["zero"].endswith("or run only the stages before it, with --until")
    zero, paper = recipe.stage["zero"], load_recipe("r1-qwen-7b").stage["zero"]
    assert zero.model_dump() == {**paper.model_dump(), "model": "deepseek-ai/DeepSeek-V3-Base", "recompute": "on"}
    students = ("qwen_1_5b", "qwen_7b", "qwen_14b", "qwen_32b", "llama_8b", "llama_70b")
    assert [recipe.stage[name].learning_rate for name in students] == [1e-4, 8e-5, 7e-5, 6e-5, 5e-5, 2e-5]


def test_local_checkpoint_is_read(tmp_path: Path) -> None:
    config = transformers.Qwen3Config(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, tie_word_embeddings=True, max_position_embeddings=64,
    )  # fmt: skip
    transformers.Qwen3ForCausalLM(config).save_pretrained(tmp_path / "m")
    expected = transformers.Qwen3ForCausalLM(config).num_parameters()
    planned = plan_of(tmp_path, "stage.zero.max_completion_length=65", model=str(tmp_path / "m"))
    assert planned.stages[0].parameters == expected
    assert "stage.zero: max_completion_length = 65 is more than the model's 64 positions" in planned.warnings


def test_unknown_architecture_has_no_memory_estimate(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    planned = plan_of(tmp_path, model=str(tmp_path / "m"))
    assert planned.stages[0].parameters is None and planned.stages[0].memory == {}
    assert any(warning.endswith("is unknown, so memory is not estimated") for warning in planned.warnings)


def test_memory_follows_its_formula(tmp_path: Path) -> None:
    shape = KNOWN_SHAPES["Qwen/Qwen2.5-0.5B"]
    n = shape.parameter_count()
    parts = plan_of(tmp_path, "stage.zero.max_completion_length=1024").stages[0].memory
    assert parts["weights"] == 2 * n and parts["master"] == parts["gradients"] == 4 * n and parts["optimizer"] == 8 * n
    assert parts["reference"] == 2 * n
    cache = 2 * 24 * 2 * 64 * 2 * (512 * 1024 + 512 // 16 * PROMPT_TOKENS)
    assert parts["kv_cache"] == cache + cache // 48  # a layer is copied when it grows
    fixed = sum(parts[name] for name in ("base", "weights", "master", "optimizer", "reference"))
    training = sum(parts[name] for name in ("gradients", "activations", "attention", "logits"))
    assert parts["peak"] == fixed + max(training, parts["kv_cache"] + parts["sampling"])
    assert plan_of(tmp_path, "stage.zero.beta=0").stages[0].memory["reference"] == 0
    fp32 = plan_of(tmp_path, "dtype=float32").stages[0].memory
    assert fp32["weights"] == fp32["reference"] == 4 * n and fp32["master"] == 0
    half = plan_of(tmp_path, "max_concurrent=256", "stage.zero.max_completion_length=1024").stages[0].memory
    assert 2 * half["kv_cache"] == parts["kv_cache"]


def test_length_limits_after_the_last_step_do_not_count(tmp_path: Path) -> None:
    caps = "stage.zero.max_completion_length={0=100, 50=200}"
    short, long = (plan_of(tmp_path, caps, f"stage.zero.steps={n}").stages[0].memory["kv_cache"] for n in (50, 51))
    assert long - short == pytest.approx(100 * 512 * 2 * 24 * 2 * 64 * 2 * (1 + 1 / 48), rel=1e-6)


@pytest.mark.parametrize(
    ("override", "warning"),
    [
        (
            "stage.zero.steps=33",
            "steps = 33 is not a multiple of steps_per_rollout = 16: the last rollout trains 1 of 16",
        ),
        ("stage.zero.ref_refresh_steps=100", "ref_refresh_steps = 100 is not a multiple"),
        ("stage.zero.warmup_steps=20000", "warmup_steps = 20000 never ends"),
        ("stage.zero.eval_every=5", "eval_every has no effect: there are no benchmarks"),
        ("stage.zero.micro_batch_tokens=100", "micro_batch_tokens = 100 is less than one completion"),
    ],
)
def test_warnings(tmp_path: Path, override: str, warning: str) -> None:
    quiet = ["stage.zero.max_completion_length=512"]
    assert plan_of(tmp_path, *quiet).warnings == ()
    (text,) = plan_of(tmp_path, *quiet, override).warnings
    assert text.startswith("stage.zero: ") and warning in text


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("stage.zero.num_generations=100000000", "stage.zero.num_generations = 100000000: prompts_per_step * "),
        ("stage.zero.prompts_per_step=10000000000", "stage.zero.prompts_per_step = 10000000000: "),
        ("stage.zero.max_completion_length=1000000000000", "stage.zero.max_completion_length = 1000000000000: the KV"),
        ("stage.zero.steps_per_rollout=100000000", "stage.zero.steps_per_rollout = 100000000: "),
    ],
)
def test_rollout_that_cannot_fit_is_refused_by_the_key_to_lower(tmp_path: Path, override: str, reason: str) -> None:
    assert plan_of(tmp_path).errors == {}
    (error,) = plan_of(tmp_path, override).errors.values()
    assert error.startswith(reason)
    assert "of memory, but" in error and error.endswith(override.split("=")[0].removeprefix("stage.zero."))


def test_micro_batch_is_never_larger_than_a_step(tmp_path: Path) -> None:
    sizes = ["stage.zero.max_completion_length=64", "stage.zero.prompts_per_step=1", "stage.zero.num_generations=2"]
    small = plan_of(tmp_path, *sizes, "stage.zero.micro_batch_tokens=128").stages[0].memory
    assert plan_of(tmp_path, *sizes, "stage.zero.micro_batch_tokens=100000000000000").stages[0].memory == small


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("sequences_per_step = 100000000000", "stage.base.sequences_per_step = 100000000000: "),
        ("sequences_per_step = 4\ncontext_length = 100000000000", "stage.base.context_length = 100000000000: "),
        ("sequences_per_step = 4\narchitecture.num_hidden_layers = 20000000000", "stage.base.architecture.num_hidden_"),
        (
            "sequences_per_step = 4\nvocab_size = 100000000000000",
            "stage.base.vocab_size = 100000000000000: 3,200T parameters with gradients",
        ),
    ],
)
def test_pretraining_that_cannot_fit_is_refused(tmp_path: Path, keys: str, reason: str) -> None:
    vocab_size = "" if "vocab_size" in keys else "vocab_size = 300\n"
    layers = "" if "layers" in keys else "architecture.num_hidden_layers = 2\n"
    shape = "hidden_size = 32 intermediate_size = 64 num_attention_heads = 2 num_key_value_heads = 1"
    shape = re.sub(r"(\w+ = \d+) ?", r"architecture.\1\n", shape)
    (tmp_path / "p.toml").write_text(
        f'name = "p"\n[stage.base]\nkind = "pretrain"\nsteps = 1\n{vocab_size}{layers}{shape}{keys}\n'
    )
    (error,) = plan.make_plan(load_recipe(str(tmp_path / "p.toml"))).errors.values()
    assert error.startswith(reason)


def test_samples_that_cannot_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'name = "p"\n[stage.e]\nkind = "evaluate"\nmodel = "sprout-base"\nbenchmarks = { x = ["world:logic"] }\n'
        "samples = 10000000000\n"
    )
    (error,) = plan.make_plan(load_recipe(str(tmp_path / "p.toml"))).errors.values()
    assert error.startswith("stage.e.samples = 10000000000: ") and error.endswith("lower samples")


def test_benchmarks_by_name_are_planned_with_their_own_samples(tmp_path: Path) -> None:
    head = 'name = "p"\n[stage.e]\nkind = "evaluate"\nmodel = "Qwen/Qwen2.5-0.5B"\nbenchmarks = '

    def planned(keys: str) -> plan.StagePlan:
        (tmp_path / "p.toml").write_text(head + keys)
        return plan.make_plan(load_recipe(str(tmp_path / "p.toml"))).stages[0]

    named = planned('{ a = ["bench:aime24"], d = ["bench:drop"], i = [{ source = "bench:ifeval", limit = 100 }] }')
    assert named.counts == {"samples_per_problem": 64, "completions": 64 * 30 + find_task("drop").n + 4 * 100}
    assert named.description.startswith("64 samples per problem of a, 1 of d, 4 of i; ")
    same = planned('{ x = ["world:logic"] }\nsamples = 64')
    assert named.memory["kv_cache"] == same.memory["kv_cache"] and same.counts == {"samples_per_problem": 64}
    short = planned('{ a = ["bench:aime24"] }\nmax_completion_length = 64\nsamples = 2')
    assert short.counts["completions"] == 60 and short.memory["kv_cache"] < same.memory["kv_cache"]


def test_completions_and_checkpoints_are_in_main_memory(tmp_path: Path) -> None:
    n = KNOWN_SHAPES["Qwen/Qwen2.5-0.5B"].parameter_count()
    overrides = ["stage.zero.max_completion_length=1024", "dtype=float32"]
    on_gpu = plan_of(tmp_path, *overrides).stages[0].memory
    assert on_gpu["main_memory"] == BASE_BYTES["cpu"] + 8192 * (700 + 68 * 1024) + 16 * n
    on_cpu = plan_of(tmp_path, *overrides, "device=cpu").stages[0].memory
    assert on_cpu["completions"] == 8192 * (700 + 68 * 1024) and on_cpu["checkpoint"] == 16 * n
    assert on_gpu["peak"] < on_cpu["peak"] and "main_memory" not in on_cpu


def test_text_and_json_agree(tmp_path: Path) -> None:
    planned = plan_of(tmp_path, "stage.zero.steps=33")
    text, data = plan.render(planned), json.loads(json.dumps(planned.to_json()))
    assert "33 steps of 32 prompts x 16 generations = 512 completions" in text and "494M parameters" in text
    assert data["stages"][0]["counts"]["completions"] == 33 * 512 and data["warnings"][0] in text


def test_sizes_have_decimal_units() -> None:
    assert [plan.size(n) for n in (7, 860_000, 1_543_714_304, 14 * 10**12, 3 * 10**15)] == [
        "7", "860K", "1.54B", "14T", "3,000T",
    ]  # fmt: skip


def test_choosing_and_measuring_with_the_same_problems_is_warned_about(tmp_path: Path) -> None:
    evaluate = '[stage.measured]\nkind = "evaluate"\nmodel = "{}"\nbenchmarks = {{ x = ["world:{}"] }}\n'
    recipe, base = tmp_path / "p.toml", "Qwen/Qwen2.5-0.5B"

    def warnings(model: str, world: str, *keys: str) -> list[str]:
        recipe.write_text(RECIPE.format(model=base) + evaluate.format(model, world))
        changes = ["eval_every=5", "benchmarks.sums=['world:arithmetic']", *keys]
        planned = plan.make_plan(load_recipe(str(recipe), ["device=cuda", *(f"stage.zero.{key}" for key in changes)]))
        return [text for text in planned.warnings if "best_metric" in text]

    best = "best_metric=eval/sums/pass@1"
    (text,) = warnings("zero", "arithmetic", best)
    assert text.startswith("stage.zero: best_metric = eval/sums/pass@1 chooses the model by problems that measured")
    assert warnings("zero", "countdown", best) == []
    assert warnings(base, "arithmetic", best) == [], "another model"
    assert warnings("zero", "arithmetic") == []

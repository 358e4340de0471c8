"""Adapters: nothing at first, frozen weights below, a reference of their own, exact resume, merged export."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path

import pytest
import torch
from learner_batches import TEMPERATURE, config, random_batch
from tiny_learner import all_equal, restore, save
from torch.distributed.checkpoint import FileSystemReader

from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.native import NativeEngine
from r1kit.errors import UserError
from r1kit.evals.metrics import mean_ci95
from r1kit.learn.advantage import group_advantages
from r1kit.learn.batch import make_batch
from r1kit.learn.learner import Learner
from r1kit.learn.lora import add_adapters, has_adapters, merge_adapters, trained_weights
from r1kit.learn.reference import reference_model
from r1kit.model.hf import load_model, load_tokenizer, save_model
from r1kit.model.reference import checkpoint_problem, local_model

pytest.importorskip("peft")
TOKENS = torch.arange(60).view(4, 15)


@pytest.fixture
def adapted(make_decoder):
    """Make a learner of adapters, called with the dtype and changes to the config."""

    def make(dtype: torch.dtype = torch.float32, **changes: object) -> Learner:
        model = make_decoder(0).to(dtype)
        add_adapters(model, rank=4, alpha=8.0, seed=1)
        return Learner(model, config(learning_rate=1e-2, **changes))

    return make


def hidden(model) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS)


def train(made: Learner, steps: int) -> list[dict[str, float]]:
    batch = random_batch(made.model)
    return [made.step(batch, step) for step in range(steps)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_adapters_are_trained(adapted, make_decoder, dtype):
    made, base = adapted(dtype), make_decoder(0).to(dtype)
    assert has_adapters(made.model) and made.master is made.model, "no second copy of the weights"
    assert torch.equal(hidden(made.model), hidden(base)), "new adapters change nothing"
    weights = trained_weights(made.model)
    assert len(weights) == 2 * 4 * 2 and {weight.dtype for weight in weights.values()} == {torch.float32}
    frozen = {name: p.detach().clone() for name, p in made.model.named_parameters() if name not in weights}
    assert {weight.dtype for weight in frozen.values()} == {dtype}
    train(made, 2)
    assert all(torch.equal(p, frozen[name]) for name, p in made.model.named_parameters() if name in frozen)
    assert all(weight.any() for weight in weights.values())
    assert not torch.equal(hidden(made.model), hidden(base))


def test_reference_is_the_model_without_adapters_until_it_is_refreshed(adapted, make_decoder):
    made, base = adapted(ref_refresh_steps=3), make_decoder(0)
    train(made, 2)
    with reference_model(made.reference, made.model) as reference:
        assert torch.equal(hidden(reference), hidden(base))
    before = hidden(made.model)
    assert not torch.equal(before, hidden(base)), "the policy is as before the block"
    batch = random_batch(made.model)
    assert made.step(batch, 2)["kl"] > 0
    refreshed = hidden(made.model)
    with reference_model(made.reference, made.model) as reference:
        assert torch.equal(hidden(reference), refreshed)
    made.step(batch, 3)
    with reference_model(made.reference, made.model) as reference:
        assert torch.equal(hidden(reference), refreshed)
    assert not torch.equal(hidden(made.model), refreshed)
    assert sum(p.numel() for p in made.reference.parameters()) < sum(p.numel() for p in base.parameters()) / 2


def test_gradient_equals_the_full_gradient_projected_on_the_adapters(adapted, make_decoder):
    """With W' = W + s B A, the gradients of B and A are s G A^T and s B^T G, where G is that of W."""
    made = adapted(beta=0.0)
    train(made, 2)
    merged = Learner(merge_adapters(copy.deepcopy(made.model)), config(beta=0.0))
    batch = random_batch(merged.model)
    made.backward(batch, 16), merged.backward(batch, 16)
    for block, full in zip(made.model.blocks, merged.model.blocks, strict=True):
        layer, grad = block.mlp.down, full.mlp.down.weight.grad
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        torch.testing.assert_close(b.grad, 2.0 * grad @ a.T, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(a.grad, 2.0 * b.T @ grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("recompute", [False, True])
def test_resume_is_bit_exact_and_saves_adapters_only(tmp_path, adapted, recompute):
    made, fresh = adapted(ref_refresh_steps=2), adapted(ref_refresh_steps=2)
    made.model.recompute = fresh.model.recompute = recompute
    batch = random_batch(made.model)
    train(made, 3)
    save(made, {"step": 3}, tmp_path)
    expected = [made.step(batch, step) for step in (3, 4)]
    assert restore(fresh, tmp_path) == {"step": 3}
    assert [fresh.step(batch, step) for step in (3, 4)] == expected
    assert all_equal(list(fresh.model.parameters()), list(made.model.parameters()))
    stored = FileSystemReader(next(tmp_path.glob("step_*"))).read_metadata().state_dict_metadata
    shapes = [entry.size for name, entry in stored.items() if not name.endswith(".step") and hasattr(entry, "size")]
    weights = sum(p.numel() for p in trained_weights(made.model).values())
    assert sum(map(math.prod, shapes)) == 4 * weights, "adapters, their two moments and their reference"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_engine_samples_from_the_adapted_model(adapted, tokenizer, dtype):
    made = adapted(dtype, beta=0.0)
    train(made, 2)
    requests = [Request("p", tuple(range(5, 12)), 4)]
    completions = NativeEngine(made.model, tokenizer).generate(requests, SamplingParams(0, 12))
    for completion in completions:
        row = torch.tensor([*requests[0].token_ids, *completion.token_ids])
        with torch.no_grad():
            logits = made.model.logits(made.model(row[None]))[0, len(requests[0].token_ids) - 1 : -1].float()
        logp = logits.log_softmax(-1).gather(1, torch.tensor(completion.token_ids)[:, None]).squeeze(1)
        tolerance = 2e-5 if dtype == torch.float32 else 0.1
        torch.testing.assert_close(torch.tensor(completion.logprobs), logp, rtol=0, atol=tolerance)


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "llama"])
def test_merged_export_loads_in_transformers_with_equal_logits(tmp_path: Path, make_decoder, model_type):
    from transformers import AutoModelForCausalLM

    model = make_decoder(0, model_type=model_type)
    names = [name for name, _ in model.named_parameters()]
    add_adapters(model, rank=4, alpha=8.0, seed=1)
    with torch.no_grad():
        for weight in trained_weights(model).values():
            weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
        adapted = model.logits(model(TOKENS))
    merged = merge_adapters(model)
    assert merged is model and [name for name, _ in model.named_parameters()] == names
    assert not has_adapters(model)
    save_model(model, None, tmp_path)
    peer = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(peer(TOKENS).logits, adapted, rtol=0, atol=2e-4)
    ours = load_model(tmp_path, torch.float32, "cpu")
    torch.testing.assert_close(hidden(ours), hidden(model), rtol=0, atol=0)


def test_adapters_do_not_touch_global_randomness(make_decoder):
    models = [make_decoder(0) for _ in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (1, 1, 2), strict=True):
        add_adapters(model, rank=4, alpha=8.0, seed=seed)
    drawn = [list(trained_weights(model).values()) for model in models]
    assert all_equal(drawn[0], drawn[1]) and not all_equal(drawn[0], drawn[2])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.slow
def test_adapters_learn_a_task_as_well_as_full_training(make_decoder, tokenizer):
    """Both learn to write half of the vocabulary only; the 95 % intervals of the last rewards overlap.

    Adapters leave the embeddings alone, so the wanted tokens lie on one side of them.
    """
    intervals = {}
    for name, rank, rate in (("full", 0, 3e-3), ("adapters", 8, 3e-3)):
        model = make_decoder(0)
        with torch.no_grad():
            model.embed.weight.mul_(3)
        wanted = (model.embed.weight[:, 0] > 0).tolist()
        if rank:
            add_adapters(model, rank, alpha=16.0, seed=1)
        made = Learner(model, config(beta=0.001, learning_rate=rate, micro_batch_tokens=4096, steps=70))
        engine = NativeEngine(model, tokenizer)
        rewards = [_step(made, engine, wanted, step) for step in range(70)]
        mean, low, high = mean_ci95([reward for step in rewards[-5:] for reward in step])
        assert mean_ci95(rewards[0])[0] < 0.7 and mean > 0.9, (name, mean)
        intervals[name] = (low, high)
    (low, high), (other_low, other_high) = intervals.values()
    assert low <= other_high and other_low <= high, intervals


def _step(made: Learner, engine: NativeEngine, wanted: list[bool], step: int) -> list[float]:
    """Sample, reward the share of wanted tokens, update; return the rewards."""
    prompts = [tuple(range(5 + step % 3, 8 + p)) for p in range(4)]
    requests = [Request(f"p{p}", prompt, 8) for p, prompt in enumerate(prompts)]
    completions = engine.generate(requests, SamplingParams(step, 8, TEMPERATURE))
    rewards = [sum(wanted[token] for token in c.token_ids) / len(c.token_ids) for c in completions]
    groups = [completions[i : i + 8] for i in range(0, len(completions), 8)]
    advantages = group_advantages(torch.tensor(rewards).view(4, 8))
    batch = make_batch(prompts, groups, advantages, temperature=TEMPERATURE, mask_truncated=False)
    made.step(batch, step)
    engine.load_weights(made.model, step + 1)
    return rewards


def test_missing_peft_names_the_extra(make_decoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"run pip install 'r1kit\[lora\]'"):
        add_adapters(make_decoder(0), rank=4, alpha=8.0, seed=0)


@pytest.mark.parametrize("rslora", [False, True])
def test_adapter_directory_of_peft_is_merged_when_loaded(tmp_path: Path, make_decoder, tokenizer, rslora):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base, adapter = tmp_path / "base", tmp_path / "adapter"
    save_model(make_decoder(0), tokenizer, base)
    targets = ["q_proj", "v_proj", "o_proj", "up_proj"]
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False, use_rslora=rslora)
    peer = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    peer.save_pretrained(adapter)
    assert local_model(str(adapter)) == adapter and checkpoint_problem(adapter) is None
    model = load_model(adapter, torch.float32, "cpu")
    assert load_tokenizer(adapter).get_vocab() == tokenizer.get_vocab()
    with torch.no_grad():
        torch.testing.assert_close(model.logits(model(TOKENS)), peer(TOKENS).logits, rtol=0, atol=2e-4)
    config_file = adapter / "adapter_config.json"
    config_file.write_text(config_file.read_text().replace('"use_dora": false', '"use_dora": true'))
    with pytest.raises(UserError, match=r"an adapter of .*, of a kind that r1kit does not merge"):
        local_model(str(adapter))

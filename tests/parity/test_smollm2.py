"""Real weights, where they have been made: the same logits and texts as transformers, before and after training."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from paths import ROOT
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from r1kit.config import Prompting
from r1kit.data.prompt import make_prompts
from r1kit.data.template import end_of_answer
from r1kit.data.worlds import world_problems
from r1kit.engine.base import SamplingParams
from r1kit.engine.factory import load_engine
from r1kit.model.hf import load_model
from r1kit.rollout.sample import sample_completions

BASE = ROOT / "HuggingFaceTB" / "SmolLM2-135M-Instruct"
MADE = [BASE, *sorted((ROOT / "runs" / "zero-smollm2").glob("*/stages/zero/model"))]
NEW_TOKENS = 40


@pytest.mark.skipif(not BASE.is_dir(), reason="needs `make smollm2`")
@pytest.mark.parametrize("directory", MADE, ids=lambda path: str(path.relative_to(ROOT)))
def test_real_weights_agree_with_transformers(directory: Path) -> None:
    peer = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert tokenizer.eos_token == "<|im_end|>" and end_of_answer(tokenizer) == peer.generation_config.eos_token_id == 2
    assert tokenizer.tokenize("1234 + x") == ["1", "2", "3", "4", "Ġ+", "Ġx"]
    prompts = make_prompts(world_problems("instructions", "held_out", limit=3), Prompting(template="chat"), tokenizer)
    assert prompts[0].text.startswith("<|im_start|>system") and prompts[0].text.endswith("<|im_start|>assistant\n")

    engine, _ = load_engine(directory, "cpu", "float32", 8)
    groups = sample_completions(engine, prompts, 1, SamplingParams(seed=0, max_tokens=NEW_TOKENS, temperature=0))
    ours = load_model(directory, torch.float32, "cpu")
    for prompt, (completion,) in zip(prompts, groups, strict=True):
        tokens = torch.tensor([prompt.token_ids])
        with torch.no_grad():
            expected = peer.generate(tokens, max_new_tokens=NEW_TOKENS, do_sample=False)[0, tokens.shape[1] :]
            both = torch.cat([tokens[0], expected])[None]
            torch.testing.assert_close(ours.logits(ours(both)), peer(both).logits, rtol=0, atol=2e-4)
        assert list(completion.token_ids) == expected.tolist()


def test_half_of_the_layers_stay_with_the_first_and_the_last() -> None:
    halve = runpy.run_path(str(ROOT / "scripts" / "half_model.py"))["halve"]
    shape = dict(vocab_size=32, hidden_size=16, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1)
    model = LlamaForCausalLM(LlamaConfig(**shape, num_hidden_layers=6))
    layers = list(model.model.layers)
    halve(model)
    assert list(model.model.layers) == [layers[0], layers[2], layers[5]] and model.config.num_hidden_layers == 3
    assert model.generate(torch.tensor([[1, 2]]), min_new_tokens=3, max_new_tokens=3, do_sample=False).shape == (1, 5)

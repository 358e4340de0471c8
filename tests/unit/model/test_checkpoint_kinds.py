"""Checkpoints as people have them: however the weights are stored, the model is that of transformers.

Each kind is loaded by the decoder (llama) and through transformers (mistral).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_families import EVERY, SIZES, write_family
from tokenizers_of_families import tokenizer_of
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from r1kit.data.template import end_of_answer, render_prompt, set_template
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import make_engine
from r1kit.engine.stops import stop_tokens
from r1kit.errors import UserError
from r1kit.model.hf import load_model, load_tokenizer, save_model
from r1kit.model.hf_config import read_config
from r1kit.model.reference import checkpoint_problem, local_model

TOKENS = torch.randint(0, 300, (1, 90), generator=torch.Generator().manual_seed(0))
both = pytest.mark.parametrize("family", ["llama", "mistral"])


def as_bin(directory: Path, shards: int, legacy: bool = False) -> None:
    """Replace safetensors by .bin files."""
    weights = AutoModelForCausalLM.from_pretrained(directory).state_dict()
    for file in directory.glob("*.safetensors*"):
        file.unlink()
    names = sorted(weights)
    files = {f"pytorch_model-{i}.bin" if shards > 1 else "pytorch_model.bin": names[i::shards] for i in range(shards)}
    for file, inside in files.items():
        torch.save({n: weights[n] for n in inside}, directory / file, _use_new_zipfile_serialization=not legacy)
    if shards > 1:
        index = {"metadata": {}, "weight_map": {name: file for file, inside in files.items() for name in inside}}
        (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))


STORED: dict[str, tuple[dict, Callable[[Path], None] | None]] = {
    "shards": ({"max_shard_size": "20KB"}, None),
    "bin": ({}, lambda directory: as_bin(directory, 1)),
    "bin-legacy": ({}, lambda directory: as_bin(directory, 1, legacy=True)),
    "bin-shards": ({}, lambda directory: as_bin(directory, 3)),
    "bfloat16": ({"dtype": torch.bfloat16}, None),
    "float16": ({"dtype": torch.float16}, None),
}


@torch.no_grad()
def assert_same(directory: Path, theirs: PreTrainedModel) -> None:
    ours = load_model(directory, torch.float32, "cpu")
    torch.testing.assert_close(ours.logits(ours(TOKENS)), theirs.float()(TOKENS).logits, rtol=0, atol=2e-4)


@both
@pytest.mark.parametrize("kind", STORED)
def test_stored_weights(family: str, kind: str, tokenizer, tmp_path: Path) -> None:
    keys, change = STORED[kind]
    theirs = write_family(family, tokenizer, tmp_path, **keys)
    if change is not None:
        change(tmp_path)
    assert checkpoint_problem(tmp_path) is None
    if kind == "shards":
        assert len(list(tmp_path.glob("*.safetensors"))) > 3
    assert_same(tmp_path, theirs)


def test_a_pickle_that_runs_code_is_refused(tokenizer, tmp_path: Path) -> None:
    write_family("llama", tokenizer, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weight": Path}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds more than tensors"):
        load_model(tmp_path, torch.float32, "cpu")


@both
@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_embeddings(family: str, tied: bool, tokenizer, tmp_path: Path) -> None:
    kind, changes = EVERY[family]
    config = kind(vocab_size=320, **{**SIZES, **changes, "tie_word_embeddings": tied})
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    assert_same(tmp_path, theirs)
    ours = load_model(tmp_path, torch.float32, "cpu")
    save_model(ours, tokenizer, tmp_path / "saved")
    assert AutoConfig.from_pretrained(tmp_path / "saved").tie_word_embeddings == tied
    assert_same(tmp_path / "saved", theirs)


@both
def test_padded_vocabulary(family: str, tokenizer, tmp_path: Path) -> None:
    """Rows of the embedding beyond the tokenizer are kept; the tokens may be sampled and have no text."""
    kind, changes = EVERY[family]
    theirs = AutoModelForCausalLM.from_config(kind(vocab_size=384, **{**SIZES, **changes})).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = load_model(tmp_path, torch.float32, "cpu")
    sampled = make_engine(model, tokenizer, 64).generate([Request("p", (5, 6, 7), 8)], SamplingParams(0, 30))
    assert max(max(completion.token_ids) for completion in sampled) >= len(tokenizer)
    save_model(model, load_tokenizer(tmp_path), tmp_path / "saved")
    assert_same(tmp_path / "saved", theirs)


@both
def test_several_eos_tokens_all_end_a_completion(family: str, tokenizer, tmp_path: Path) -> None:
    write_family(family, tokenizer, tmp_path)
    generation = tmp_path / "generation_config.json"
    generation.write_text(json.dumps({"eos_token_id": [tokenizer.eos_token_id, 7, 9]}))
    model = load_model(tmp_path, torch.float32, "cpu")
    assert stop_tokens(model.config, tokenizer) >= {tokenizer.eos_token_id, 7, 9}
    save_model(model, tokenizer, tmp_path / "saved")
    assert set(read_config(tmp_path / "saved").eos_token_ids) == {tokenizer.eos_token_id, 7, 9}


@both
def test_tokenizer_without_chat_template(family: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of("llama3-base")
    write_family(family, tokenizer, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert "2 + 2" in render_prompt("2 + 2?", "r1-zero", loaded)
    set_template(loaded, "chat")  # a base model gets R1's
    save_model(load_model(tmp_path, torch.float32, "cpu"), loaded, tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert again.chat_template == loaded.chat_template and end_of_answer(again) == end_of_answer(loaded)


@both
def test_adapter_directory(family: str, tokenizer, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    theirs = write_family(family, tokenizer, base)
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(theirs, lora)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(adapter)
    assert local_model(str(adapter)) == adapter and checkpoint_problem(adapter) is None
    model = load_model(adapter, torch.float32, "cpu")
    with torch.no_grad():
        torch.testing.assert_close(model.logits(model(TOKENS)), adapted(TOKENS).logits, rtol=0, atol=2e-4)

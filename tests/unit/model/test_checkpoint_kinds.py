"""Checkpoints as people have them: however the weights are stored, the model is that of transformers.

Each kind is loaded by the decoder (llama) and through transformers (mistral).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_families import EVERY, SIZES, write_family
from tokenizers_of_families import tokenizer_of
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from r1kit.data.template import end_of_answer, render_prompt, set_template
from r1kit.engine.base import Request, SamplingParams
from r1kit.engine.factory import make_engine
from r1kit.engine.stops import stop_tokens
from r1kit.errors import UserError
from r1kit.model.hf import load_model, load_tokenizer, save_model
from r1kit.model.hf_config import read_config
from r1kit.model.reference import checkpoint_problem, local_model

TOKENS = torch.randint(0, 300, (1, 90), generator=torch.Generator().manual_seed(0))
UP = ("gate", "up", "down")
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


def write_gguf(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, file: Path) -> None:
    """Write a qwen2 model with F32 tensors, as the format's specification says."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def pair(key: str, value: object) -> bytes:
        if isinstance(value, list):
            return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        kind, content = {
            int: lambda: (4, struct.pack("<I", value)),
            float: lambda: (6, struct.pack("<f", value)),
            str: lambda: (8, text(value)),
        }[type(value)]()
        return text(key) + struct.pack("<I", kind) + content

    c = lm.config
    backend = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    sizes = dict(block_count=c.num_hidden_layers, context_length=c.max_position_embeddings)
    sizes |= {"embedding_length": c.hidden_size, "feed_forward_length": c.intermediate_size}
    sizes |= {"attention.head_count": c.num_attention_heads, "attention.head_count_kv": c.num_key_value_heads}
    sizes |= {"attention.layer_norm_rms_epsilon": c.rms_norm_eps, "rope.freq_base": 10_000.0}
    pairs = {"general.architecture": "qwen2", **{f"qwen2.{key}": value for key, value in sizes.items()}}
    pairs |= {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": tokenizer.convert_ids_to_tokens(range(320))}
    pairs |= {"tokenizer.ggml.merges": [" ".join(merge) for merge in backend["merges"]]}
    pairs |= {"tokenizer.ggml.eos_token_id": tokenizer.eos_token_id}
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    block = {"self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    block |= {f"self_attn.{x}_proj": f"attn_{x}" for x in "qkv"} | {f"mlp.{x}_proj": f"ffn_{x}" for x in UP}
    infos, data = b"", b""
    for name, weight in lm.state_dict().items():
        module, _, kind = name.rpartition(".")
        if module not in names:
            _, _, layer, inner = module.split(".", 3)
            module = f"blk.{layer}.{block[inner]}"
        else:
            module = names[module]
        shape = weight.shape[::-1]
        infos += text(f"{module}.{kind}") + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        infos += struct.pack("<IQ", 0, len(data))
        data += weight.numpy().tobytes()
        data += b"\0" * (-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(lm.state_dict()), len(pairs))
    head += b"".join(pair(key, value) for key, value in pairs.items()) + infos
    file.write_bytes(head + b"\0" * (-len(head) % 32) + data)


def test_gguf_file_is_converted_once(tokenizer, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    theirs = write_family("qwen2", tokenizer, tmp_path / "original")
    (tmp_path / "gguf").mkdir()
    write_gguf(theirs, tokenizer, tmp_path / "gguf/model.gguf")
    directory = local_model(str(tmp_path / "gguf/model.gguf"))
    assert directory == local_model(str(tmp_path / "gguf")) == tmp_path / "gguf/model-hf"
    written = (directory / "model.safetensors").stat().st_mtime_ns
    assert checkpoint_problem(directory) is None
    assert_same(directory, theirs)
    local_model(str(tmp_path / "gguf"))
    assert (directory / "model.safetensors").stat().st_mtime_ns == written
    assert load_tokenizer(directory).get_vocab() == tokenizer.get_vocab()
    (tmp_path / "gguf/other.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match=r"has model.gguf, other.gguf: give one of these files"):
        local_model(str(tmp_path / "gguf"))
    with pytest.raises(UserError, match="transformers cannot read it"):
        local_model(str(tmp_path / "gguf/other.gguf"))


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

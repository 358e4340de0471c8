"""Checkpoints converted from llama2.c: transformers and r1kit generate the same tokens.

One is a pretrained Llama that writes stories; the other, written by this test in the same format, is random.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import SHARED
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from r1kit.model.decoder import Decoder
from r1kit.model.hf import load_model, load_tokenizer

SOURCE = SHARED / "stories260k"
UNK, BOS, EOS = 0, 1, 2
NEW_TOKENS = 200


def _half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Reorder each head's rows: llama2.c rotates neighbouring pairs, Hugging Face pairs half a head apart."""
    return weight.view(heads, -1, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _convert_model(file: Path) -> LlamaForCausalLM:
    raw = file.read_bytes()
    dim, hidden, layers, heads, kv, vocab, context = struct.unpack("<7i", raw[:28])
    assert vocab > 0, "a negative size would mean a separate output matrix"
    numbers = torch.from_numpy(np.frombuffer(raw, dtype="<f4", offset=28).copy())
    kv_dim, at = dim // heads * kv, 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return numbers[at - size : at].view(shape)

    weights = {"model.embed_tokens.weight": take(vocab, dim)}
    per_layer = {
        "input_layernorm": take(layers, dim),
        "self_attn.q_proj": take(layers, dim, dim),
        "self_attn.k_proj": take(layers, kv_dim, dim),
        "self_attn.v_proj": take(layers, kv_dim, dim),
        "self_attn.o_proj": take(layers, dim, dim),
        "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim),
        "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }
    for name, stacked in per_layer.items():
        rotated_heads = {"self_attn.q_proj": heads, "self_attn.k_proj": kv}.get(name)
        for i, weight in enumerate(stacked):
            weights[f"model.layers.{i}.{name}.weight"] = _half_split(weight, rotated_heads) if rotated_heads else weight
    weights["model.norm.weight"] = take(dim)
    assert at + context * dim // heads == len(numbers), "the rest is the table of rotary angles"
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, max_position_embeddings=context, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=EOS,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # tied
    return model


def _pieces(file: Path) -> Iterator[tuple[float, str]]:
    raw, at = file.read_bytes(), 4
    while at < len(raw):
        score, length = struct.unpack_from("<fi", raw, at)
        at += 8 + length
        yield score, raw[at - length : at].decode()


def _convert_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """Convert SentencePiece BPE: every split of a piece into two pieces is a merge, best scored pieces first."""
    scored = [(score, text.strip("\n") if text.endswith("s>\n") else text) for score, text in _pieces(file)]
    pieces = [text.replace(" ", "▁") for _, text in scored]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    ranked = sorted(range(len(pieces)), key=lambda i: -scored[i][0])
    splits = ((pieces[i][:cut], pieces[i][cut:]) for i in ranked for cut in range(1, len(pieces[i])))
    merges = [(left, right) for left, right in splits if left in vocab and right in vocab]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def _write_random_model(directory: Path) -> Path:
    """Write a random model and its tokenizer in the formats of llama2.c."""
    directory.mkdir()
    words = ["a", "b", "c", " ", "ab", " a", "abc", " ab", " abc"]
    pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    tokenizer = struct.pack("<i", max(map(len, pieces)))
    for i, piece in enumerate(pieces):
        tokenizer += struct.pack("<fi", float(i), len(piece)) + piece.encode()
    (directory / "tok512.bin").write_bytes(tokenizer)
    dim, hidden, layers, heads, kv, vocab, context = 32, 48, 2, 4, 2, len(pieces), 256
    per_layer = 2 * dim + 2 * dim * dim + 2 * (dim // heads * kv) * dim + 3 * hidden * dim
    count = vocab * dim + layers * per_layer + dim + context * dim // heads
    numbers = np.random.default_rng(0).normal(0, 0.3, count).astype("<f4")
    header = struct.pack("<7i", dim, hidden, layers, heads, kv, vocab, context)
    (directory / "stories260K.bin").write_bytes(header + numbers.tobytes())
    return directory


def _greedy(model: Decoder, new_tokens: int) -> torch.Tensor:
    tokens = torch.tensor([[BOS]])
    while tokens.shape[1] <= new_tokens and tokens[0, -1] != EOS:
        tokens = torch.cat((tokens, model.logits(model(tokens)[:, -1]).argmax(-1, keepdim=True)), dim=1)
    return tokens


@torch.no_grad()
def _assert_same_generation(source: Path, directory: Path) -> tuple[torch.Tensor, PreTrainedTokenizerBase]:
    """Convert `source`, compare both implementations, and return the tokens they generate."""
    _convert_model(source / "stories260K.bin").save_pretrained(directory)
    _convert_tokenizer(source / "tok512.bin").save_pretrained(directory)
    peer = LlamaForCausalLM.from_pretrained(directory)
    ours = load_model(directory, torch.float32, "cpu")
    start = torch.tensor([[BOS]])
    theirs = peer.generate(start, do_sample=False, max_new_tokens=NEW_TOKENS, attention_mask=torch.ones_like(start))
    tokens = _greedy(ours, NEW_TOKENS)
    assert tokens.tolist() == theirs.tolist()
    logits = peer(tokens).logits
    assert logits.std() > 0.3
    torch.testing.assert_close(ours.logits(ours(tokens)), logits, rtol=0, atol=1e-4)
    return tokens, load_tokenizer(directory)


def test_random_model_generates_the_same_tokens(tmp_path: Path) -> None:
    tokens, tokenizer = _assert_same_generation(_write_random_model(tmp_path / "llama2c"), tmp_path / "hf")
    assert tokens.shape[1] > 5
    text = "abc ab"
    assert [tokenizer.decode([i]) for i in tokenizer.encode(text, add_special_tokens=False)] == ["abc", "ab"]
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.skipif(not SOURCE.is_dir(), reason="needs the stories260k weights")
def test_pretrained_model_writes_the_same_story(tmp_path: Path) -> None:
    tokens, tokenizer = _assert_same_generation(SOURCE, tmp_path)
    assert tokens.shape[1] == NEW_TOKENS + 1
    text = tokenizer.decode(tokens[0], skip_special_tokens=True)
    assert text.startswith("Once upon a time, there was a little girl named Lily. She loved to play")
    words = text.replace(".", " ").replace(",", " ").lower().split()
    assert sum(word in {"the", "a", "she", "to", "and", "was", "it", "her"} for word in words) > len(words) / 5
    assert tokenizer.encode(text, add_special_tokens=False) == tokens[0, 1:].tolist()

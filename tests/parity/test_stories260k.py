"""A real pretrained Llama, from llama2.c's own format: transformers and r1kit write the same story."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import SHARED
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from r1kit.model.hf import load_model, load_tokenizer

SOURCE = SHARED / "stories260k"
UNK, BOS, EOS = 0, 1, 2
NEW_TOKENS = 200


def _half_split(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama2.c turns neighbouring pairs, Hugging Face pairs half a head apart: reorder each head's rows."""
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
        turned = {"self_attn.q_proj": heads, "self_attn.k_proj": kv}.get(name)
        for i, weight in enumerate(stacked):
            weights[f"model.layers.{i}.{name}.weight"] = _half_split(weight, turned) if turned else weight
    weights["model.norm.weight"] = take(dim)
    assert at + context * dim // heads == len(numbers), "what is left is the table of rotary angles"
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
    """SentencePiece BPE: every way to split a piece into two pieces is a merge, the best scored piece first."""
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


@pytest.mark.skipif(not SOURCE.is_dir(), reason="needs the stories260k weights")
@torch.no_grad()
def test_both_write_the_same_story(tmp_path: Path) -> None:
    _convert_model(SOURCE / "stories260K.bin").save_pretrained(tmp_path)
    _convert_tokenizer(SOURCE / "tok512.bin").save_pretrained(tmp_path)
    peer = LlamaForCausalLM.from_pretrained(tmp_path)
    ours = load_model(tmp_path, torch.float32, "cpu")
    tokenizer = load_tokenizer(tmp_path)

    start = torch.tensor([[BOS]])
    theirs = peer.generate(start, do_sample=False, max_new_tokens=NEW_TOKENS, attention_mask=torch.ones_like(start))
    mine = start
    while mine.shape[1] <= NEW_TOKENS and mine[0, -1] != EOS:
        mine = torch.cat((mine, ours.logits(ours(mine)[:, -1]).argmax(-1, keepdim=True)), dim=1)
    assert mine.tolist() == theirs.tolist()
    assert mine.shape[1] == NEW_TOKENS + 1

    text = tokenizer.decode(mine[0], skip_special_tokens=True)
    assert text.startswith("Once upon a time, there was a little girl named Lily. She loved to play")
    words = text.replace(".", " ").replace(",", " ").lower().split()
    assert sum(word in {"the", "a", "she", "to", "and", "was", "it", "her"} for word in words) > len(words) / 5
    assert tokenizer.encode(text, add_special_tokens=False) == mine[0, 1:].tolist()
    torch.testing.assert_close(ours.logits(ours(mine)), peer(mine).logits, rtol=0, atol=1e-4)

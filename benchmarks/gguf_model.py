"""Write a checkpoint of the family qwen2 as a GGUF file, which llama.cpp and OpenVINO GenAI read.

python benchmarks/gguf_model.py MODEL OUT.gguf [--dtype float16]

The tokenizer is only good for token ids: benchmarks give and receive these.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTSIDE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
NORMAL, SPECIAL = 1, 3  # GGUF's numbers for kinds of tokens


def write_gguf(model: Path, path: Path, dtype: str) -> None:
    """Write the weights and the shape of a checkpoint, with matrices in float32, float16 or bfloat16."""
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
    from gguf.quants import quantize
    from safetensors.torch import load_file

    from r1kit.model.hf_config import read_config

    shape, writer = read_config(model), GGUFWriter(path, "qwen2")
    name, kind = {
        "float32": ("F32", LlamaFileType.ALL_F32),
        "float16": ("F16", LlamaFileType.MOSTLY_F16),
        "bfloat16": ("BF16", LlamaFileType.MOSTLY_BF16),
    }[dtype]
    matrix = GGMLQuantizationType[name]
    writer.add_file_type(kind)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_rope_freq_base(shape.rope_theta)
    _add_tokenizer(writer, json.loads((model / "tokenizer.json").read_text(encoding="utf-8")), shape.vocab_size)
    for key, weight in load_file(model / "model.safetensors").items():
        stored = matrix if weight.ndim == 2 else GGMLQuantizationType.F32
        writer.add_tensor(_renamed(key), quantize(weight.float().numpy(), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer, tokenizer: dict, size: int) -> None:
    ids = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    texts = {number: text for text, number in ids.items()}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([texts.get(number, f"<unused {number}>") for number in range(size)])
    special = {token["id"] for token in tokenizer["added_tokens"]}  # OpenVINO wants some
    writer.add_token_types([SPECIAL if number in special else NORMAL for number in range(size)])
    writer.add_token_merges(merges)
    for add in (writer.add_eos_token_id, writer.add_bos_token_id, writer.add_pad_token_id):
        add(0)


def _renamed(name: str) -> str:
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, _, layer, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[module]}.{kind}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16", help="of matrices")
    args = parser.parse_args()
    write_gguf(args.model, args.out, args.dtype)

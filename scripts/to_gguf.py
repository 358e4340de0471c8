"""Convert a checkpoint to GGUF by llama.cpp's own converter, also if its tokenizer was trained by r1kit.

llama.cpp knows a tokenizer's way to split text into words by a hash of its ids for a test text, which depends on the
vocabulary: it refuses every newly trained one. For tokenizers of r1kit's `pretrain` stages this script says that they
split like SmolLM's: digits one by one, words with the space before them. The two differ in runs of spaces before a word
and in English contractions ('s, 't), where tokens may, and texts do not, differ.

    python scripts/to_gguf.py LLAMA_CPP/convert_hf_to_gguf.py MODEL --outfile model.gguf --outtype f32
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

from r1kit.data.tokenizer import SPLIT_PATTERN

KNOWN_AS = "smollm"


def main(converter: Path, model: Path, *options: str) -> None:
    """Run the converter on a model with options of its own."""
    sys.path[:0] = [str(converter.parent), str(converter.parent / "gguf-py")]
    from conversion.base import TextModel

    look_up = TextModel.get_vocab_base_pre
    own = is_trained_here(json.loads((model / "tokenizer.json").read_text(encoding="utf-8")))
    TextModel.get_vocab_base_pre = lambda self, tokenizer: KNOWN_AS if own else look_up(self, tokenizer)
    sys.argv = [str(converter), str(model), *options]
    runpy.run_path(str(converter), run_name="__main__")


def is_trained_here(tokenizer: dict[str, Any]) -> bool:
    """Return whether a tokenizer.json splits text as `r1kit.data.tokenizer.train_tokenizer` does."""
    splits = (tokenizer.get("pre_tokenizer") or {}).get("pretokenizers", [])
    return any(each.get("pattern") == {"Regex": SPLIT_PATTERN} for each in splits)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])

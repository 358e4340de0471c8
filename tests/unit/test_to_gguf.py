"""scripts/to_gguf.py answers for tokenizers that r1kit trained, and for no others."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from r1kit.model.reference import ASSETS

SCRIPT = Path(__file__).parents[2] / "scripts/to_gguf.py"
# What the script needs of llama.cpp's converter: a class that looks up tokenizers, which the program uses.
CONVERSION = "class TextModel:\n    def get_vocab_base_pre(self, tokenizer):\n        return 'looked up'\n"
CONVERTER = (
    "import sys\nfrom conversion.base import TextModel\nprint(TextModel().get_vocab_base_pre(None), *sys.argv[1:])\n"
)


def foreign(split: pre_tokenizers.PreTokenizer | None) -> dict:
    tokenizer = Tokenizer(models.BPE())
    if split is not None:
        tokenizer.pre_tokenizer = split
    return json.loads(tokenizer.to_str())


def test_own_tokenizers_are_told_from_others() -> None:
    is_trained_here = runpy.run_path(str(SCRIPT))["is_trained_here"]
    assert is_trained_here(json.loads((ASSETS / "sprout-base/tokenizer.json").read_text()))
    assert not is_trained_here(foreign(None)) and not is_trained_here(foreign(pre_tokenizers.ByteLevel()))
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()])
    assert not is_trained_here(foreign(digits))


@pytest.mark.slow
def test_the_converter_runs_with_its_options(tmp_path: Path) -> None:
    (tmp_path / "conversion").mkdir()
    (tmp_path / "conversion/base.py").write_text(CONVERSION)
    (tmp_path / "convert.py").write_text(CONVERTER)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/tokenizer.json").write_text(json.dumps(foreign(pre_tokenizers.ByteLevel())))

    def converted(model: Path) -> str:
        command = [sys.executable, str(SCRIPT), str(tmp_path / "convert.py"), str(model), "--outtype", "f32"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert converted(ASSETS / "sprout-base") == f"smollm {ASSETS / 'sprout-base'} --outtype f32"
    assert converted(tmp_path / "other").startswith("looked up ")

"""Make a model of half the layers of another, to be a student: python scripts/half_model.py MODEL DIRECTORY.

Layers at even distances stay, with the first and the last. Nothing is trained: such a model writes hardly any sense
before its own training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1kit.model.reference import resolve_model


def halve(model: nn.Module) -> None:
    """Remove half of the decoder layers of a transformers model."""
    layers = model.model.layers
    count = (len(layers) + 1) // 2
    kept = [layers[round(i * (len(layers) - 1) / max(1, count - 1))] for i in range(count)]
    for index, layer in enumerate(kept):
        layer.self_attn.layer_idx = index
    model.model.layers = nn.ModuleList(kept)
    model.config.num_hidden_layers = count


def main() -> None:
    """Read the arguments, write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a directory, a stage of a run or a hub id")
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    source, directory = resolve_model(arguments.model), arguments.directory
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    halve(model)
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    print(f"{directory}: {model.config.num_hidden_layers} layers, {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main()

"""Adapter directories as peft writes them: found by their base model, and merged into it when they are loaded.

adapter_config.json        base_model_name_or_path, r, lora_alpha, ...
adapter_model.safetensors  base_model.model.NAME.lora_A.weight [r, inputs], lora_B.weight [outputs, r]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1kit import hub
from r1kit.errors import UserError
from r1kit.files import read_json

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
PLAIN = ("rank_pattern", "alpha_pattern", "use_dora", "modules_to_save", "fan_in_fan_out", "lora_bias")  # all unset
MERGE = (
    'pip install peft && python -c "from peft import AutoPeftModelForCausalLM as M; from transformers import '
    "AutoTokenizer as T; M.from_pretrained('{adapter}').merge_and_unload().save_pretrained('{merged}'); "
    "T.from_pretrained('{base}').save_pretrained('{merged}')\""
)


def is_adapter(directory: Path) -> bool:
    """Return whether a directory holds an adapter instead of a model."""
    return (directory / ADAPTER).is_file() and not (directory / "config.json").is_file()


def base_directory(directory: Path) -> Path:
    """Return the checkpoint of an adapter's base model: a directory, or a model in the Hugging Face cache.

    Raises:
        UserError: The base model is not here, or the adapter is of a kind that cannot be merged here.
    """
    config = read_json(directory / ADAPTER)
    base = config.get("base_model_name_or_path") or "BASE"
    path = Path(base).expanduser()
    found = path if (path / "config.json").is_file() else hub.cached_model(base)
    special = [key for key in PLAIN if config.get(key)]
    if config.get("peft_type", "LORA") != "LORA" or special or not (directory / WEIGHTS).is_file():
        raise UserError(_how_to_merge(directory, base, "of a kind that r1kit does not merge"))
    if found is None:
        raise UserError(_how_to_merge(directory, base, "and its base model is not here"))
    return found


def merge_files(views: Mapping[str, Tensor], directory: Path) -> None:
    """Add an adapter to the weights of its base model, given under their Hugging Face names.

    Raises:
        UserError: The adapter has weights that do not belong to a linear layer of the base model.
    """
    from safetensors.torch import load_file

    config, stored = read_json(directory / ADAPTER), load_file(directory / WEIGHTS)
    names = {name.removeprefix(PREFIX).removesuffix(A).removesuffix(B) for name in stored}
    expected = {f"{PREFIX}{name}{end}" for name in names for end in (A, B)}
    if stored.keys() != expected or any(f"{name}.weight" not in views for name in names):
        raise UserError(_how_to_merge(directory, config["base_model_name_or_path"], "with layers of an unknown kind"))
    for name in names:
        a, b = (stored[f"{PREFIX}{name}{end}"].float() for end in (A, B))
        scale = config["lora_alpha"] / (len(a) ** 0.5 if config.get("use_rslora") else len(a))
        weight = views[f"{name}.weight"]
        weight.copy_(weight.float() + scale * (b @ a).to(weight.device))


def _how_to_merge(directory: Path, base: Any, reason: str) -> str:
    merged = f"{directory.name}-merged"
    return (
        f"{directory}: an adapter of {base}, not a complete model, {reason}. Merge it and give the directory {merged} "
        f"instead:\n{MERGE.format(adapter=directory, merged=merged, base=base)}"
    )

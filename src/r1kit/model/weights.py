"""Read and write weights under Hugging Face's tensor names: safetensors, and older .bin files, which are only read.

A .bin file is a pickle. torch's loader for weights accepts nothing but tensors in it and runs no code.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from r1kit.errors import UserError
from r1kit.files import read_json, write_json
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
FLOATS = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32", torch.float64: "F64"}
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file, known from the file's header."""

    file: Path
    shape: tuple[int, ...]
    dtype: str  # safetensors' name: "BF16", ...


def hugging_face_views(model: Decoder) -> dict[str, Tensor]:
    """Map every Hugging Face tensor name to the rows of our parameter that hold it.

    The views share the model's memory: copy into them to load the model, write them out to save it.
    """
    views: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        views.update(hugging_face_parts(model.config, name, parameter.detach()))
    return views


def hugging_face_parts(config: ModelConfig, name: str, parameter: Tensor) -> dict[str, Tensor]:
    """Map the Hugging Face names of what one of our parameters holds to its rows."""
    module, kind = name.rsplit(".", 1)
    if module in config.family.model_names:
        prefix, names = "", config.family.model_names[module]
    else:
        _, layer, module = module.split(".", 2)
        prefix, names = f"model.layers.{layer}.", config.family.block_names[module]
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    shares = (heads, kv, kv) if len(names) == 3 else (1,) * len(names)
    rows = parameter.shape[0] // sum(shares)
    parts = torch.split_with_sizes(parameter, [rows * share for share in shares])
    return {f"{prefix}{theirs}.{kind}": part for theirs, part in zip(names, parts, strict=True)}


def stored_tensors(directory: Path) -> dict[str, StoredTensor]:
    """List the tensors of a checkpoint by name. Only file headers are read."""
    stored = {}
    for file in _weight_files(directory):
        if file.suffix == ".bin":
            for name, x in _unpickled(file).items():
                stored[name] = StoredTensor(file, tuple(x.shape), FLOATS.get(x.dtype, str(x.dtype)))
            continue
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict
                    entry = opened.get_slice(name)
                    stored[name] = StoredTensor(file, tuple(entry.get_shape()), entry.get_dtype())
        except SafetensorError as error:
            raise UserError(
                f"{file}: not a readable safetensors file ({error}): download or convert it again"
            ) from None
    # Old Llama checkpoints store their rotary frequencies, which the config determines.
    return {name: entry for name, entry in stored.items() if not name.endswith("rotary_emb.inv_freq")}


def _unpickled(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a .bin file, mapped into memory where its format allows that.

    Raises:
        UserError: The file is damaged, or holds anything but tensors.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except Exception as error:  # pickle, zip and torch have their own
        raise UserError(
            f"{file}: not a readable file of weights, or it holds more than tensors ({error}): download it again, or "
            "use a checkpoint in safetensors"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{file}: holds more than named tensors: use a checkpoint in safetensors")
    return content


def _weight_files(directory: Path) -> list[Path]:
    for single in (SINGLE, PICKLED):
        index = directory / f"{single}.index.json"
        if (directory / single).is_file():
            return [directory / single]
        if index.is_file():
            return _shards(directory, index, Path(single).suffix)
    raise UserError(f"{directory}: no weights: expected {SINGLE} or {INDEX}, or {PICKLED}")


def _shards(directory: Path, index: Path, suffix: str) -> list[Path]:
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    if odd := [name for name in names if not re.fullmatch(rf"[\w.-]+\{suffix}", name)]:
        raise UserError(f"{index}: {odd[0]!r} must be the plain name of a {suffix} file here")
    if absent := [name for name in names if not (directory / name).is_file()]:
        raise UserError(f"{directory}: {_some(absent)} missing, listed in {index.name}: complete the download")
    return [directory / name for name in names]


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def check_fit(model: Decoder, stored: dict[str, StoredTensor], directory: Path) -> None:
    """Raise a UserError that names every mismatch of names, shapes and dtypes. The model may be on the meta device."""
    views = hugging_face_views(model)
    expected = {name: tuple(view.shape) for name, view in views.items()}
    surplus = stored.keys() - expected.keys() - ({HEAD} if model.config.tie_word_embeddings else set())
    both = sorted(stored.keys() & expected.keys())
    problems: dict[str, list[str]] = {
        "missing": sorted(expected.keys() - stored.keys()),
        "unexpected": sorted(surplus),
        "wrong shape": [
            f"{name} ({list(stored[name].shape)}, expected {list(expected[name])})"
            for name in both
            if stored[name].shape != expected[name]
        ],
        "not floats of 16 to 64 bits": [
            f"{name} ({stored[name].dtype})" for name in both if stored[name].dtype not in ("BF16", "F16", "F32", "F64")
        ],
    }
    if any(problems.values()):
        details = "; ".join(f"{kind}: {_some(names)}" for kind, names in problems.items() if names)
        raise UserError(f"{directory}: the weights do not match config.json. {details}")


@torch.no_grad()
def fill(model: Decoder, stored: dict[str, StoredTensor], directory: Path) -> None:
    """Copy the stored tensors into the model one at a time, converted to its dtype and device.

    Raises:
        UserError: A tensor holds NaN or infinity, or tied embeddings differ.
    """
    views = hugging_face_views(model)
    for file in sorted({entry.file for entry in stored.values()}):
        for name, tensor in _read(file, views.keys()):
            _refuse_non_finite(tensor, name, file)
            views[name].copy_(tensor)
    if HEAD in stored and HEAD not in views:  # tied but stored: transformers 4 ties it, 5 does not
        head = dict(_read(stored[HEAD].file, {HEAD}))[HEAD].to(model.embed.weight)
        if not torch.equal(head, model.embed.weight):
            raise UserError(
                f"{directory}: config.json ties the embeddings but {HEAD} differs from {EMBEDDING}. Set "
                f"tie_word_embeddings to false to use both matrices, or delete {HEAD}"
            )


def _read(file: Path, names: Collection[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield those of these tensors that are in a file."""
    if file.suffix == ".bin":
        yield from ((name, tensor) for name, tensor in _unpickled(file).items() if name in names)
        return
    with safe_open(file, framework="pt") as tensors:
        yield from ((name, tensors.get_tensor(name)) for name in tensors.keys() if name in names)  # noqa: SIM118


def _refuse_non_finite(tensor: Tensor, name: str, file: Path) -> None:
    if tensor.numel() == 0:
        return
    extremes = torch.stack(torch.aminmax(tensor))  # one pass without a copy; NaN anywhere makes both NaN
    if not bool(extremes.isfinite().all()):
        count = tensor.numel() - int(tensor.isfinite().sum())
        raise UserError(
            f"{file}: {name} has {count} of {tensor.numel()} values that are NaN or infinite: the file is damaged, or "
            "training diverged before it was saved. Download it again, or use an earlier checkpoint"
        )


def write_weights(model: Decoder, directory: Path, max_shard_bytes: int) -> None:
    """Write model.safetensors, or shards with an index."""
    views = hugging_face_views(model)
    # Plan shards on the meta device: there, parts of one matrix count as separate tensors.
    sizes = {name: torch.empty(view.shape, dtype=view.dtype, device="meta") for name, view in views.items()}
    plan = split_torch_state_dict_into_shards(sizes, max_shard_size=max_shard_bytes)
    for filename, names in plan.filename_to_tensors.items():
        save_file({name: views[name] for name in names}, directory / filename, metadata={"format": "pt"})
    if plan.is_sharded:
        write_json(directory / INDEX, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename})

"""GGUF files: converted once, by transformers, to a Hugging Face checkpoint beside the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from r1kit.console import heartbeat, say, warn
from r1kit.errors import UserError, require
from r1kit.files import publish

LEFT_OUT = ("quantization_config", "_name_or_path", "dtype")  # keys of the config that describe the GGUF file


def gguf_file(path: Path) -> Path | None:
    """Return the GGUF file that a path names: itself, or the only one in a directory without a checkpoint.

    Raises:
        UserError: The directory has several.
    """
    if path.suffix == ".gguf" and path.is_file():
        return path
    files = sorted(path.glob("*.gguf")) if path.is_dir() and not (path / "config.json").is_file() else []
    if len(files) > 1:
        raise UserError(f"{path}: has {', '.join(file.name for file in files)}: give one of these files")
    return files[0] if files else None


def converted(file: Path) -> Path:
    """Return the checkpoint made from a GGUF file: the directory FILE-hf beside it, written if it is older or absent.

    Raises:
        UserError: The package gguf is not installed, or transformers cannot read the file.
    """
    target = file.with_name(f"{file.stem}-hf")
    config = target / "config.json"
    if config.is_file() and config.stat().st_mtime >= file.stat().st_mtime:
        return target
    require("gguf", "gguf")
    say(f"{file}: converting it to {target}, once")
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    has_tokenizer = (file.parent / "tokenizer.json").is_file()
    kind: Any = PreTrainedTokenizerFast if has_tokenizer else AutoTokenizer
    source = {} if has_tokenizer else {"gguf_file": file.name}
    try:
        with heartbeat(f"reading {file}"):
            read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="auto")
            tokenizer = kind.from_pretrained(file.parent, local_files_only=True, **source)
            keys = {key: value for key, value in read.config.to_dict().items() if key not in LEFT_OUT}
            model: Any = type(read)(type(read.config)(**keys))
            model.to(read.dtype)
            model.load_state_dict(read.state_dict())
    except Exception as error:  # the reader of gguf raises whatever a damaged file leads to
        raise UserError(f"{file}: transformers cannot read it: {error}") from error
    if not has_tokenizer:
        warn(
            f"{file}: GGUF does not describe a tokenizer completely: put the original tokenizer.json beside "
            f"the file and delete {target} if numbers or spaces are split differently"
        )
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    publish(temporary, target)
    return target

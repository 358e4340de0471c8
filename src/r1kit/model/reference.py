"""Resolve a model reference (bundled name, directory, stage of a run or hub id) to a checkpoint directory. No torch."""

from __future__ import annotations

from pathlib import Path

from r1kit import hub
from r1kit.console import heartbeat
from r1kit.errors import UserError
from r1kit.files import read_json
from r1kit.model.adapter_files import base_directory, is_adapter
from r1kit.model.generic.gguf import converted, gguf_file
from r1kit.model.hf_config import read_config
from r1kit.run_dir import RunDir, StageDir
from r1kit.synonyms import nearest

ASSETS = Path(__file__).parents[1] / "assets"
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
PICKLED_FILES = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def bundled_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in ASSETS.glob("*/config.json"))


def local_model(reference: str) -> Path | None:
    """Return the checkpoint directory of a bundled model, a checkpoint or a stage of a run; None for anything else.

    A stage is given by its directory RUN/stages/STAGE, or as RUN/STAGE. A GGUF file is converted first.

    Raises:
        UserError: The directory has no checkpoint that can be loaded directly.
    """
    if reference in bundled_models():
        return ASSETS / reference
    path = Path(reference).expanduser()
    if (file := gguf_file(path)) is not None:
        return converted(file)
    if path.is_file():
        raise UserError(f"{reference}: a file: give a GGUF file, or the directory of a Hugging Face checkpoint")
    if not path.is_dir():
        return _model_of_stage(reference, RunDir(path.parent).stage(path.name))
    for candidate in (path, StageDir(path).model):
        if (candidate / "config.json").is_file():
            return candidate
    if is_adapter(path):
        base_directory(path)  # UserError if it cannot be merged
        return path
    stages = sorted(str(p.parent.parent) for p in RunDir(path).stages.glob("*/model/config.json"))
    advice = f"; did you mean {' or '.join(stages)}?" if stages else ": give the directory of a Hugging Face checkpoint"
    raise UserError(f"{reference}: this directory has no config.json{advice}")


def _model_of_stage(reference: str, stage: StageDir) -> Path | None:
    if not stage.path.is_dir():
        return None
    if (stage.model / "config.json").is_file():
        return stage.model
    raise UserError(f"{reference}: the stage {stage.path} has made no model, or is not finished")


def missing_files(directory: Path) -> str | None:
    """Return which files a checkpoint directory lacks: config.json, a tokenizer or weights; None if it is complete."""
    if is_adapter(directory):
        return missing_files(base_directory(directory))
    needed: list[tuple[str, ...]] = [("config.json",), TOKENIZER_FILES]
    indices = (directory / f"{single}.index.json" for single in WEIGHTS)
    if not any((directory / single).is_file() for single in WEIGHTS):
        index = next((path for path in indices if path.is_file()), None)
        shards = set(read_json(index).get("weight_map", {}).values()) if index is not None else set()
        needed += [(name,) for name in sorted(shards)] or [("model.safetensors",)]
    lacking = [" or ".join(names) for names in needed if not any((directory / name).is_file() for name in names)]
    return ", ".join(lacking) or None


def checkpoint_problem(directory: Path) -> str | None:
    """Return why a checkpoint directory cannot be loaded, judged by its config.json and the names of its files."""
    try:
        read_config(directory)
    except UserError as error:
        return f"{directory}: {error}"
    lacking = missing_files(directory)
    return f"{directory}: the checkpoint lacks {lacking}" if lacking else None


def cached_model(reference: str) -> Path | None:
    """Return the snapshot of a hub id in the Hugging Face cache; None if it is incomplete or absent."""
    directory = hub.cached_model(reference)
    return directory if directory is not None and missing_files(directory) is None else None


def resolve_model(reference: str) -> Path:
    """Return the checkpoint directory of a model reference, downloading hub ids to the Hugging Face cache.

    Raises:
        UserError: There is no such model, or it is neither cached nor can it be downloaded.
    """
    if (path := local_model(reference)) is not None:
        return path
    if not hub.is_hub_id(reference):
        close = nearest(reference, bundled_models())
        hint = f"did you mean {close}?" if close else f"bundled models: {', '.join(bundled_models()) or 'none'}"
        raise UserError(f"{reference}: no such model or directory; {hint} (a hub id has the form org/name)")
    if reason := hub.unavailable([(reference, "model")]).get((reference, "model")):
        if (cached := cached_model(reference)) is not None:
            return cached
        raise UserError(unavailable_model(reference, reason))
    from huggingface_hub import snapshot_download

    try:
        with heartbeat(f"downloading {reference} from the hub"):
            directory = Path(snapshot_download(reference, allow_patterns=HUB_FILES))
            if not any(directory.glob("*.safetensors")):
                snapshot_download(reference, allow_patterns=PICKLED_FILES)
            return directory
    except OSError as error:  # a lost connection, a full disk
        raise UserError(f"{reference}: cannot be downloaded from the hub: {error}") from error


def unavailable_model(reference: str, reason: str) -> str:
    """Return the message for a model that is neither local nor on the hub."""
    return (
        f"{reference}: not a directory here; {reason}. Connect, or download it elsewhere (hf download {reference}) and "
        "give its directory"
    )

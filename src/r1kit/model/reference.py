"""Resolve a model reference (bundled name, directory or hub id) to a checkpoint directory. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from r1kit.errors import UserError, nearest
from r1kit.run_dir import RunDir, StageDir

ASSETS = Path(__file__).parents[1] / "assets"
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def bundled_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in ASSETS.glob("*/config.json"))


def is_hub_id(reference: str) -> bool:
    """Return whether a reference has the form org/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", reference) is not None


def local_model(reference: str) -> Path | None:
    """Return the checkpoint directory of a bundled model, a checkpoint or a stage of a run; None for anything else."""
    if reference in bundled_models():
        return ASSETS / reference
    path = Path(reference).expanduser()
    if not path.is_dir():
        return None
    for candidate in (path, StageDir(path).model):
        if (candidate / "config.json").is_file():
            return candidate
    stages = sorted(str(p.parent.parent) for p in RunDir(path).stages.glob("*/model/config.json"))
    advice = f"; did you mean {' or '.join(stages)}?" if stages else ": give the directory of a Hugging Face checkpoint"
    raise UserError(f"{reference}: this directory has no config.json{advice}")


def resolve_model(reference: str) -> Path:
    """Return the checkpoint directory of a model reference, downloading hub ids to the Hugging Face cache."""
    if (path := local_model(reference)) is not None:
        return path
    if not is_hub_id(reference):
        close = nearest(reference, bundled_models())
        hint = f"did you mean {close}?" if close else f"bundled models: {', '.join(bundled_models()) or 'none'}"
        raise UserError(f"{reference}: no such model or directory; {hint} (a hub id has the form org/name)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference, allow_patterns=HUB_FILES))
    except LocalEntryNotFoundError:
        raise UserError(
            f"{reference}: not a directory here, not in the Hugging Face cache, and the hub cannot be reached. "
            f"Connect, or download it elsewhere (hf download {reference}) and give the directory instead"
        ) from None
    except OSError as error:  # a missing or gated repository, a full disk
        raise UserError(f"{reference}: cannot be downloaded from the hub: {error}") from error

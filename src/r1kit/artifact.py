"""What an artifact is called and how it gets to disk: identities, hashes, seeds, atomic writes, model references.

No torch here. Every write is durable before it is visible: write aside, fsync, rename, fsync the parent.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"
SAMPLED_ABOVE = 16 << 20  # bytes; `fingerprint` reads larger files in samples
CHUNKS, CHUNK = 64, 64 << 10
SEAL = "manifest.json"  # what `seal` writes beside the files it vouches for
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


class UserError(ValueError):
    """Something the person who typed the command can fix. Shown as one message, without a traceback."""


class Interrupted(Exception):
    """Stopped by ^C or SIGTERM, not by a fault; the message says how to go on."""


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage is given besides its config. It may be called again on a half-done `dir` to resume."""

    name: str
    dir: Path  # the stage's own directory: everything it writes goes here
    seed: int
    dtype: str  # "float32" or "bfloat16"
    device: str  # "cpu" or "cuda"
    max_concurrent: int  # sequences generated at once
    models: Mapping[str, Path]  # a reference as the recipe writes it -> a Hugging Face checkpoint directory
    data: Mapping[str, Path] = field(default_factory=dict)  # the name of an earlier stage -> the records it made
    reward_workers: int = 1  # processes that grade what is not a plain rule
    grading: Mapping[str, Any] = field(default_factory=dict)  # rewards.services.Settings, as plain values


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def identity(kind: str, config: Mapping[str, Any], parents: Mapping[str, str], version: str) -> str:
    """SHA-256 of all that decides an artifact's content. Equal inputs give equal identities on any machine."""
    return hashlib.sha256(_canonical([kind, config, parents, version])).hexdigest()


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed from names and numbers: the one way randomness is derived. `1` and `"1"` differ."""
    return int.from_bytes(hashlib.sha256(_canonical(parts)).digest()[:8], "big") >> 1


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `given` most likely meant."""
    matches = difflib.get_close_matches(given, list(allowed), n=1)
    return matches[0] if matches else None


def fsync(path: Path) -> None:
    """Make a file's content, or a directory's list of names, survive a power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file so that after a crash it holds the old content or the new, never part of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError:  # a full disk: give back what there is of it
        aside.unlink(missing_ok=True)
        raise
    os.replace(aside, path)
    fsync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Strict JSON, atomically: NaN and infinity are refused with ValueError."""
    write_bytes(path, _json_file(value))


def _json_file(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Parsed content; UserError names the file when it is absent or broken."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def sync_tree(root: Path) -> None:
    """Make everything under an existing directory durable."""
    for path in (*root.rglob("*"), root):
        fsync(path)


def publish(tmp: Path, final: Path) -> None:
    """Make the finished directory `tmp` appear as `final`, all at once and durably.

    An existing `final` is moved aside first, so it exists whole or not at all at every instant.
    """
    sync_tree(tmp)
    old = final.with_name(f".{final.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if final.exists():
        os.rename(final, old)
    os.rename(tmp, final)
    fsync(final.parent)
    if old.exists():
        shutil.rmtree(old)


def _files(root: Path) -> list[Path]:
    """Regular files under `root` in a fixed order; names that start with a dot are not content."""
    found = (path for path in root.rglob("*") if path.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(root).parts))


def file_sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def manifest(root: Path, suffix: str = "") -> dict[str, str]:
    """Relative path -> SHA-256 of every file under `root` whose name ends in `suffix`."""
    return {p.relative_to(root).as_posix(): file_sha256(p) for p in _files(root) if p.name.endswith(suffix)}


def seal(root: Path) -> None:
    """Write down size and SHA-256 of every file under `root`, and a checksum of that list itself."""
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.name != SEAL)
    files = {p.relative_to(root).as_posix(): {"bytes": p.stat().st_size, "sha256": file_sha256(p)} for p in paths}
    write_bytes(root / SEAL, _seal_of(files))


def _seal_of(files: Mapping[str, Any]) -> bytes:
    return _json_file({"files": files, "sha256": hashlib.sha256(_canonical(files)).hexdigest()})


def damage(root: Path) -> list[str]:
    """What in a sealed directory is not as it was written, one phrase a file; empty when it is whole."""
    try:
        files: dict[str, Any] = read_json(root / SEAL)["files"]
        intact = (root / SEAL).read_bytes() == _seal_of(files)
    except (UserError, OSError, KeyError, TypeError, ValueError):
        intact = False
    if not intact:
        return [f"{SEAL} is {'changed' if (root / SEAL).exists() else 'missing'}"]
    found = ((name, _difference(root / name, **known)) for name, known in files.items())
    return [f"{name} is {difference}" for name, difference in found if difference]


def _difference(path: Path, *, bytes: int, sha256: str) -> str | None:
    if not path.is_file():
        return "missing"
    try:
        if (size := path.stat().st_size) != bytes:
            return f"{size} bytes long instead of {bytes}"
        return None if file_sha256(path) == sha256 else "changed"
    except OSError as error:  # a bad sector
        return f"unreadable ({error.strerror})"


def hash_tree(root: Path, suffix: str = "") -> str:
    """One SHA-256 over names and contents of a directory."""
    return hashlib.sha256(_canonical(manifest(root, suffix))).hexdigest()


def _sampled_sha256(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as handle:
        for i in range(CHUNKS):
            handle.seek((size - CHUNK) * i // (CHUNKS - 1))
            digest.update(handle.read(CHUNK))
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Tells one model or data set from another in milliseconds.

    Files up to 16 MiB count whole, larger ones by size and 64 evenly spaced blocks of 64 KiB: two fine-tunes of one
    base differ in that, though a single changed byte may not show.
    """
    root, files = (path.parent, [path]) if path.is_file() else (path, _files(path))
    seen = {
        file.relative_to(root).as_posix(): _sampled_sha256(file)
        if file.stat().st_size > SAMPLED_ABOVE
        else file_sha256(file)
        for file in files
    }
    return hashlib.sha256(_canonical(seen)).hexdigest()


def bundled_models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in ASSETS.glob("*/config.json"))


def is_hub_id(reference: str) -> bool:
    """Whether a reference has the form org/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", reference) is not None


def local_model(reference: str) -> Path | None:
    """The checkpoint directory of a bundled model or a path (a run's stage directory too); None for anything else."""
    if reference in bundled_models():
        return ASSETS / reference
    path = Path(reference).expanduser()
    if not path.is_dir():
        return None
    for candidate in (path, path / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    stages = sorted(str(p.parent.parent) for p in path.glob("stages/*/model/config.json"))
    advice = f"; did you mean {' or '.join(stages)}?" if stages else ", so it is no Hugging Face checkpoint"
    raise UserError(f"{reference}: this directory has no config.json{advice}")


def resolve_model(reference: str) -> Path:
    """The checkpoint directory a model reference stands for; hub ids are downloaded into the Hugging Face cache."""
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
        raise UserError(f"{reference}: the hub did not deliver this model: {error}") from error

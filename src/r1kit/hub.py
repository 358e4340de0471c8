"""Look up repositories in the Hugging Face cache and on the hub, once and without retries. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Literal

Kind = Literal["model", "dataset"]
TIMEOUT = 5.0  # seconds to wait for a file's headers
AT_ONCE = 16  # repositories that are asked about

# The first file that is needed of a repository.
FIRST_FILE = {"model": "config.json", "dataset": "README.md"}


def is_hub_id(reference: str) -> bool:
    """Return whether a reference has the form org/name."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", reference) is not None


def cached_model(repository: str) -> Path | None:
    """Return the newest cached snapshot of a model that has a config.json; None if there is none."""
    config = cached_file(repository, "model", FIRST_FILE["model"])
    return None if config is None else config.parent


def cached_file(repository: str, kind: Kind, name: str = "README.md") -> Path | None:
    """Return a file of the newest cached snapshot of a repository; None if it is not in the cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, name, repo_type=kind) if is_hub_id(repository) else None
    return Path(path) if isinstance(path, str) else None


def is_cached_dataset(repository: str) -> bool:
    """Return whether `datasets` has rows of a repository in its cache."""
    from huggingface_hub.constants import HF_HOME

    folder = Path(os.environ.get("HF_DATASETS_CACHE") or Path(HF_HOME) / "datasets")
    wanted = _plain(repository.replace("/", "___"))
    return folder.is_dir() and any(_plain(path.name) == wanted and any(path.iterdir()) for path in folder.iterdir())


def _plain(name: str) -> str:
    """Return a name without case and underscores: `datasets` writes GSM8K as gsm8_k."""
    return name.replace("_", "").lower()


def unavailable(repositories: Iterable[tuple[str, Kind]]) -> dict[tuple[str, Kind], str]:
    """Return why repositories cannot be downloaded now. Asks about each once, and about none if the hub is unreachable.

    Downloads the config.json of models. All are asked about at the same time.
    """
    wanted = list(dict.fromkeys(repositories))
    if not wanted:
        return {}
    if reason := _unreachable():
        return dict.fromkeys(wanted, reason)
    with _no_progress_bars(), ThreadPoolExecutor(AT_ONCE) as threads:
        reasons = threads.map(lambda repository: _ask(*repository), wanted)
        return {repository: reason for repository, reason in zip(wanted, reasons, strict=True) if reason}


def _unreachable() -> str:
    """Return why the hub cannot be asked, or ""."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "not in the Hugging Face cache, and HF_HUB_OFFLINE is set"
    try:
        httpx.head(constants.ENDPOINT, timeout=TIMEOUT)
    except httpx.TransportError:
        return "not in the Hugging Face cache, and the hub cannot be reached"
    return ""


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Inside, libraries read their caches at once if the hub cannot be reached, instead of retrying for 30 seconds."""
    from huggingface_hub import constants

    modules = [constants, import_module("datasets.config")]
    before = [module.HF_HUB_OFFLINE for module in modules]
    is_offline = any(before) or bool(_unreachable())
    try:
        for module in modules:
            vars(module)["HF_HUB_OFFLINE"] = is_offline
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            vars(module)["HF_HUB_OFFLINE"] = value


def _ask(repository: str, kind: Kind) -> str:
    """Return why a repository cannot be downloaded, or ""."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        snapshot_download(repository, repo_type=kind, allow_patterns=FIRST_FILE[kind], etag_timeout=TIMEOUT)
    except GatedRepoError:
        return f"needs permission: ask for access at https://huggingface.co/{_page(repository, kind)}"
    except RepositoryNotFoundError:
        return f"the hub has no {kind} of this name, or it is private: log in with `hf auth login`"
    except (HfHubHTTPError, OSError, ValueError) as error:
        hides_cause = isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None
        cause = error.__cause__ if hides_cause else error
        return f"the hub does not deliver it ({str(cause).strip().splitlines()[0][:200]})"
    return ""


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _page(repository: str, kind: Kind) -> str:
    return f"datasets/{repository}" if kind == "dataset" else repository

"""What a model was made from, outside the run, and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.errors import UserError
from r1kit.evals.task import find_task
from r1kit.hub import cached_file, is_hub_id
from r1kit.model.reference import bundled_models, local_model

UNKNOWN = "unknown"
USES = {"model": "model", "data": "training records", "prompts": "training problems", "benchmarks": "evaluation"}
PREFIXES = {"world:": "mit", "reasoning_gym:": "apache-2.0"}  # of generated problems: the generator's licence


@dataclass(frozen=True, slots=True)
class Input:
    """A model or a source of data from outside the run."""

    name: str
    use: str
    licence: str
    """An identifier of the hub, a text from the catalogue of benchmarks, or UNKNOWN."""
    hub_id: str | None
    """The repository on the hub."""
    origin: str
    """Revision or hash."""


def inputs_of(lineage: Mapping[str, Any]) -> list[Input]:
    """Return the roots of a lineage as `report.ancestry.trace` gives them."""
    return [_input(root) for root in lineage["roots"]]


def _input(root: Mapping[str, Any]) -> Input:
    name, use = root["name"], root["use"]
    identity = root["identity"] or ""
    origin = root.get("revision") or ("" if identity.startswith("hub:") else identity)
    return Input(shown(name), USES.get(use, use), _licence(name, use), hub_repository(name, use), origin[:12])


def hub_repository(name: str, use: str) -> str | None:
    """Return the repository that a model or a source of data is read from; None for everything else."""
    if use == "model" and name in bundled_models():
        return None
    repository = name.partition(":")[0]
    return repository if is_hub_id(repository) and not Path(name).is_file() else None


def shown(name: str) -> str:
    """Return the name of an input without the folders of this machine."""
    return Path(name).name if Path(name).is_absolute() else name


def _licence(name: str, use: str) -> str:
    for prefix, licence in PREFIXES.items():
        if name.startswith(prefix):
            return licence
    if name.startswith("bench:"):
        return find_task(name.removeprefix("bench:").partition("=")[0]).licence
    if use == "model":
        try:
            directory = local_model(name)
        except UserError:  # it was there when the stage ran
            directory = None
        card = cached_file(name, "model") if directory is None else directory / "README.md"
    else:
        repository = hub_repository(name, use)
        card = cached_file(repository, "dataset") if repository else Path(name).with_name("README.md")
    return _stated(card)


def _stated(card: Path | None) -> str:
    """Return the licence that the metadata of a model card or a dataset card states."""
    import yaml  # type: ignore[import-untyped]
    from huggingface_hub import RepoCard

    if card is None or not card.is_file():
        return UNKNOWN
    try:
        data = RepoCard(card.read_text(encoding="utf-8"), ignore_metadata_errors=True).data
    except (ValueError, yaml.YAMLError):  # its metadata are no mapping, or no YAML
        return UNKNOWN
    licence = data.get("license")
    if licence == "other":
        licence = data.get("license_name")
    return licence if isinstance(licence, str) and licence else UNKNOWN

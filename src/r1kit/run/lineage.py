"""What a run is made of and by: the identity of every stage, known before anything runs, and what the machine adds.

A stage's identity is the hash of its kind, resolved config, seed, dtype, parents' identities and this package's
version. What else may change the bits (other software, another machine) is noted in lineage.json, and said.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import r1kit
from r1kit import files, hashing, machine
from r1kit.config import Recipe, Stage
from r1kit.console import say
from r1kit.errors import UserError
from r1kit.hashing import derive_seed
from r1kit.model.reference import local_model
from r1kit.recipe import dump_toml, models_of, sources

GIT_SECONDS = 10.0  # for git to say which commit this is
REPLACED = "replaced"  # in a run: what stages had made that are being done again


@dataclass(frozen=True, slots=True)
class Step:
    """A stage with all that decides its outcome."""

    name: str
    config: Stage
    seed: int
    dtype: str
    parents: Mapping[str, str]  # what it reads -> that thing's identity
    identity: str

    def record(self) -> dict[str, Any]:
        return {
            "kind": self.config.kind,
            "identity": self.identity,
            "parents": dict(self.parents),
            "seed": self.seed,
            "dtype": self.dtype,
            "r1kit": r1kit.__version__,
            "config": self.config.model_dump(mode="json"),
        }


def plan_steps(recipe: Recipe, dtype: str) -> list[Step]:
    """Every stage with its identity, in order. Reads local models and data to fingerprint them."""
    steps: dict[str, Step] = {}
    for name, config in recipe.stage.items():
        seed = config.seed if config.seed is not None else derive_seed(recipe.seed, name)
        parents = _parents(config, steps)
        # What watchdogs bark at decides whether a stage goes on, not what it makes.
        decides = {**config.model_dump(mode="json", exclude={"watchdogs"}), "seed": seed, "dtype": dtype}
        sha = hashing.identity(config.kind, decides, parents, r1kit.__version__)
        steps[name] = Step(name, config, seed, dtype, parents, sha)
    return list(steps.values())


def _parents(config: Stage, earlier: Mapping[str, Step]) -> dict[str, str]:
    parents: dict[str, str] = {}
    for model in models_of(config, earlier):
        directory = None if model in earlier else local_model(model)
        parents[model] = _parent(model, directory, earlier)
    for source in getattr(config, "data", ()):
        parents[source] = _parent(source, Path(source).expanduser(), earlier)
    for _, prompts in sources(config):
        if (path := Path(prompts.source).expanduser()).exists():
            parents[prompts.source] = hashing.fingerprint(path)
    return parents


def _parent(reference: str, path: Path | None, earlier: Mapping[str, Step]) -> str:
    """The identity of an earlier stage, of what is at a path, or else of a repository on the hub."""
    if reference in earlier:
        return earlier[reference].identity
    return hashing.fingerprint(path) if path is not None and path.exists() else f"hub:{reference}"


def refuse_changes(steps: Sequence[Step], run_dir: Path) -> None:
    """UserError when a stage that was started is no longer the one the recipe describes."""
    lines, first = [], ""
    names = {f"parents.{step.name}" for step in steps}  # what changed there is told there
    for step in steps:
        before = _started(run_dir, step.name)
        if before is None or before["identity"] == step.identity:
            continue
        first = first or step.name
        old, new = _flatten(before), _flatten(step.record())
        keys = [key for key in {**old, **new} if key != "identity" and old.get(key) != new.get(key)]
        for key in [key for key in keys if key not in names] or keys:
            name = f"stage.{step.name}.{key.removeprefix('config.')}"
            lines.append(f"  {name}: {old.get(key, 'absent')} then, {new.get(key, 'absent')} now")
    if lines:
        raise UserError(
            f"{run_dir}: this run was started with other settings:\n" + "\n".join(lines) + "\nGive the changed recipe "
            f"another --run-dir, or add --from {first} to do that and what depends on it again here, or --fork NEWDIR "
            "to begin there with the finished stages that it leaves as they are, or run it as it was: r1kit run "
            f"{run_dir / 'recipe.toml'} --run-dir {run_dir}"
        )


def _started(run_dir: Path, name: str) -> dict[str, Any] | None:
    """The record of a stage that has made something here; None if it has not, as when it failed at its start."""
    directory, lineage = run_dir / "stages" / name, run_dir / "lineage.json"
    if (directory / "artifact.json").is_file():
        record = files.read_json(directory / "artifact.json")
    elif any(path.name != "error.txt" for path in directory.glob("*")) and lineage.is_file():
        record = files.read_json(lineage)["stages"].get(name)
    else:
        return None
    keys = ("kind", "identity", "parents", "seed", "dtype", "r1kit", "config")
    return record and {key: record[key] for key in keys}


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    parts = [_flatten(item, f"{path}.{key}" if path else key) for key, item in value.items()]
    return {key: item for part in parts for key, item in part.items()}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# -- doing stages again -------------------------------------------------------------------------------------------


def to_redo(name: str, steps: Sequence[Step], run_dir: Path) -> list[Step]:
    """The stage and all that stands on it, in order; none when they are being done again already, by the same recipe.

    UserError when there is no such stage.
    """
    require_stage("from", name, [step.name for step in steps])
    found: dict[str, Step] = {}
    for step in steps:
        if step.name == name or not found.keys().isdisjoint(step.parents):
            found[step.name] = step
    before = _started(run_dir, name)
    same = before is None or before["identity"] == found[name].identity
    return [] if (run_dir / REPLACED / name).is_dir() and same else list(found.values())


def require_stage(option: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise UserError(f"{option} {name}: no such stage; stages: {', '.join(names)}")


def set_aside(redone: Sequence[Step], run_dir: Path) -> None:
    """Move what these stages have made to REPLACED, so that they run again.

    The last ones go first: wherever this is stopped, no stage is left standing on one that is gone.
    """
    moved = []
    for step in reversed(redone):
        made, kept = run_dir / "stages" / step.name, run_dir / REPLACED / step.name
        kept.parent.mkdir(exist_ok=True)
        if not made.is_dir():
            kept.mkdir(exist_ok=True)
        elif kept.is_dir():  # an unfinished second attempt: it is the first whose place it was to take
            shutil.rmtree(made)
        else:
            os.rename(made, kept)
            files.fsync(made.parent)
            moved.append(step.name)
        files.fsync(kept.parent)
    if moved:
        say(f"done again: {', '.join(reversed(moved))}. What they had made stays in {run_dir / REPLACED} until all are")


def drop_replaced(run_dir: Path) -> None:
    """Delete what was set aside, once every stage of it has finished again."""
    aside, names = run_dir / f".{REPLACED}", [path.name for path in (run_dir / REPLACED).glob("*")]
    if names and all((run_dir / "stages" / name / "artifact.json").is_file() for name in names):
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(run_dir / REPLACED, aside)
        shutil.rmtree(aside)


# -- lineage.json -------------------------------------------------------------------------------------------------


def open_lineage(recipe: Recipe, run_dir: Path, device: str, dtype: str) -> dict[str, Any]:
    """Write the resolved recipe, and return lineage.json's content with what this process knows of itself.

    What differs from the process that worked here before is said and kept under `changes`.
    """
    files.write_bytes(run_dir / "recipe.toml", dump_toml(recipe).encode())
    path = run_dir / "lineage.json"
    before = files.read_json(path) if path.is_file() else {}
    here = environment(device, dtype)
    folder = recipe.folder and str(recipe.folder)  # rewards beside the recipe; `load_recipe` finds them again
    about = {"recipe": recipe.name, "seed": recipe.seed, "folder": folder}
    lineage = {"stages": {}, "changes": [], **before, **about, **here}
    if before and (changed := _differences(_flatten(before), _flatten(here))):
        lineage["changes"] = [*lineage["changes"], {"at": now(), "changed": changed}]
        told = "; ".join(f"{key}: {old} then, {new} now" for key, (old, new) in changed.items())
        say(
            f"warning: what works on this run has changed ({told}). It goes on, but may not end in the same bits as it "
            "would have; lineage.json keeps note"
        )
    return lineage


def environment(device: str, dtype: str) -> dict[str, Any]:
    """All that may decide bits besides the recipe: code, libraries, machine. Imports no torch."""
    return {
        "r1kit": r1kit.__version__,
        "source": hashing.hash_tree(Path(r1kit.__file__).parent, suffix=".py")[:16],
        "commit": _git_commit(),
        "python": platform.python_version(),
        "versions": machine.versions("torch", "transformers", "tokenizers", "safetensors", "numpy"),
        "platform": platform.platform(),
        "cpu": machine.cpu_name(),
        "threads": machine.threads(),
        "device": device,
        "dtype": dtype,
    }


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> (then, now). A commit may change what is not code; `source` tells."""
    return {key: (then.get(key), value) for key, value in now.items() if key != "commit" and then.get(key) != value}


def _git_commit() -> str | None:
    """The commit this package is checked out at; None when it is installed rather than checked out."""
    root = Path(r1kit.__file__).parents[2]
    if not (root / ".git").exists() or (git := shutil.which("git")) is None:
        return None
    ask = [git, "-C", str(root), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=GIT_SECONDS)
    except subprocess.TimeoutExpired:  # a network drive that is away; the hash of the source says as much
        return None
    return found.stdout.strip() if found.returncode == 0 else None


# -- another run from the same beginning --------------------------------------------------------------------------


def fork(steps: Sequence[Step], old: Path, new: Path) -> None:
    """Give `new` the finished stages of the run `old` that are what the recipe asks for; `old` stays as it is.

    Files are hard links where the disk allows: nothing that is finished is ever written to. Checkpoints stay behind.
    """
    if not (old / "lineage.json").is_file() or new.resolve() == old.resolve():
        raise UserError(
            f"--fork {new}: a new directory is forked from the run in --run-dir, and {old} is not another run"
        )
    origin, path = files.read_json(old / "lineage.json"), new / "lineage.json"
    begun = {**origin, "forked_from": str(old.resolve()), "stages": {}, "changes": []}
    lineage = files.read_json(path) if path.is_file() else begun
    for step in steps:
        source, target = old / "stages" / step.name, new / "stages" / step.name
        finished = (source / "artifact.json").is_file()
        if target.exists() or not finished or _started(old, step.name)["identity"] != step.identity:
            continue
        aside = target.with_name(f".{step.name}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(source, aside, copy_function=_link, ignore=shutil.ignore_patterns("checkpoints", ".*"))
        files.publish(aside, target)
        lineage["stages"][step.name] = origin["stages"][step.name]
        say(f"{step.name}: taken from {old}")
    files.write_json(path, lineage)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copy2(source, target)

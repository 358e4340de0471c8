"""Open lineage.json, which records the code, libraries and machine of a run besides its stages."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import r1kit
from r1kit import files, hashing, machine
from r1kit.config import Recipe
from r1kit.console import warn
from r1kit.learn.world import launched_processes
from r1kit.machine import Compute
from r1kit.recipe import dump_toml
from r1kit.run.changes import flatten
from r1kit.run.records import Environment, Lineage, timestamp
from r1kit.run_dir import RunDir

GIT_SECONDS = 10.0  # timeout of `git rev-parse`


def is_recorded(recipe: Recipe, run: RunDir) -> bool:
    """Return whether the run was last started with exactly this recipe."""
    return run.recipe.is_file() and run.recipe.read_bytes() == dump_toml(recipe).encode()


def open_lineage(recipe: Recipe, run: RunDir, compute: Compute) -> Lineage:
    """Write the resolved recipe, and return lineage.json's content updated with this process's environment.

    Differences from the environment of the previous process are printed and recorded under `changes`.
    """
    files.write_bytes(run.recipe, dump_toml(recipe).encode())
    previous = files.read_json(run.lineage) if run.lineage.is_file() else {}
    current = {**environment(compute), "own_code": (own := own_code(recipe))}
    folder = recipe.folder and str(recipe.folder)  # `load_recipe` imports the recipe's own rewards from there
    about = {"recipe": recipe.name, "seed": recipe.seed, "folder": folder}
    lineage = cast(Lineage, {"stages": {}, "changes": [], **previous, **about, **current})
    recorded = {"processes": 1, "versions.numba": "", "own_code": {}}  # older runs do not have these keys
    recorded |= {**flatten({"own_code": own}), **flatten(previous)}  # a new module is a change of the recipe
    if previous and (changed := _differences(recorded, flatten(current))):
        lineage["changes"] = [*lineage["changes"], {"at": timestamp(), "changed": changed}]
        text = "; ".join(f"{key}: was {old}, now {new}" for key, (old, new) in changed.items())
        extent = "" if any(key.startswith("own_code.") for key in changed) else " in rounding"
        warn(
            f"the software or the machine of this run has changed ({text}). The run continues, but its "
            f"results may differ{extent}. The change is recorded in {run.lineage.name}"
        )
    return lineage


def own_code(recipe: Recipe) -> dict[str, str]:
    """Return hashes of the files in the recipe's directory that define its own rewards and environments."""
    names: set[str] = set()
    for stage in recipe.stage.values():
        names |= {name for _, rewards in stage.reward_tables() for name in rewards}
        names.add(getattr(stage, "environment", None) or "")
    modules = sorted({name.removeprefix("verifiers:").partition(":")[0] for name in names if ":" in name})
    paths = {module: (recipe.folder or Path()) / f"{module.replace('.', '/')}.py" for module in modules}
    return {module: hashing.file_sha256(path)[:16] for module, path in paths.items() if path.is_file()}


def environment(compute: Compute) -> Environment:
    """Return what may change the bits of a result besides the recipe. Imports no torch."""
    return {
        "r1kit": r1kit.__version__,
        "source": hashing.hash_tree(Path(r1kit.__file__).parent, suffix=".py")[:16],
        "commit": _git_commit(),
        "python": platform.python_version(),
        "versions": machine.versions("torch", "transformers", "tokenizers", "safetensors", "numpy", "numba"),
        "platform": platform.platform(),
        "cpu": machine.cpu_name(),
        "threads": machine.threads(),
        "processes": launched_processes()[0],
        "device": compute.device,
        "dtype": compute.dtype,
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Map each changed key to its old and new value, except the commit: `source` shows whether the code changed."""
    return {key: (old.get(key), value) for key, value in new.items() if key != "commit" and old.get(key) != value}


def _git_commit() -> str | None:
    """Return the commit of this package's checkout, or None if it is installed without one."""
    root = Path(r1kit.__file__).parents[2]
    if not (root / ".git").exists() or (git := shutil.which("git")) is None:
        return None
    command = [git, "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_SECONDS)
    except subprocess.TimeoutExpired:  # such as a network drive that does not respond; `source` identifies the code
        return None
    return done.stdout.strip() if done.returncode == 0 else None

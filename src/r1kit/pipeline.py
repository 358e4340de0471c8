"""Runs a recipe's stages in order: skips what is finished, resumes what is half done, refuses what has changed.

A stage's identity is known before anything runs: the hash of its kind, resolved config, seed, dtype, parents'
identities and this package's version. It is finished when `stages/NAME/artifact.json` holds that identity.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import r1kit
from r1kit import artifact, doctor, log
from r1kit.artifact import Interrupted, StageContext, UserError, derive_seed
from r1kit.config import RL, Evaluate, Pretrain, Recipe
from r1kit.recipe import RecipeError, cross_checks, dump_toml, sources

StageConfig = Pretrain | RL | Evaluate
STAGES: dict[str, str] = {  # kind -> module with `run(config, context) -> summary`
    "pretrain": "r1kit.stages.pretrain",
    "rl": "r1kit.stages.rl",
    "evaluate": "r1kit.stages.evaluate",
}
OUTPUTS = ("model", "data")  # what a stage hands on, hashed file by file in its artifact.json
RESULTS = "data/results.json"  # what an evaluate stage found


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run: where it is, how long this invocation took, what its evaluate stages found."""

    dir: Path
    seconds: float
    evals: Mapping[str, Any]  # stage -> {"model", "benchmarks"}


@dataclass(frozen=True, slots=True)
class Step:
    """A stage with all that decides its outcome."""

    name: str
    config: StageConfig
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


def run(recipe: Recipe, run_dir: Path | str | None = None, *, until: str | None = None) -> RunResult:
    """Run `recipe` in `run_dir` (default runs/NAME), up to and including stage `until`.

    The same call again continues where it stopped. UserError if the recipe has changed under the run, the directory
    holds something else, or another process is at work in it; Interrupted on ^C and SIGTERM.
    """
    doctor.tune_allocator()
    if mistakes := cross_checks(recipe):
        raise RecipeError("\n".join(f"{'.'.join(map(str, at))}: {text}" for at, text in mistakes))
    if until is not None and until not in recipe.stage:
        raise UserError(f"until {until}: no such stage; stages: {', '.join(recipe.stage)}")
    run_dir = Path(run_dir) if run_dir is not None else Path("runs") / recipe.name
    start = time.monotonic()
    with _locked(run_dir), _sigterm_interrupts():
        try:
            _run_stages(recipe, run_dir, until)
        except KeyboardInterrupt:  # between stages
            raise Interrupted("interrupted; run the same command again to continue") from None
    found = {name: run_dir / "stages" / name / RESULTS for name in recipe.stage}
    evals = {name: artifact.read_json(path) for name, path in found.items() if path.is_file()}
    return RunResult(run_dir, time.monotonic() - start, evals)


def _run_stages(recipe: Recipe, run_dir: Path, until: str | None) -> None:
    device = doctor.choose_device(recipe.device)
    dtype = recipe.dtype if recipe.dtype != "auto" else doctor.choose_dtype(device)
    steps = plan_steps(recipe, dtype)
    _refuse_changes(steps, run_dir)
    lineage = _open_lineage(recipe, run_dir, device, dtype)
    for i, step in enumerate(steps, start=1):
        title = f"stage {i}/{len(steps)} {step.name} ({step.config.kind})"
        if (run_dir / "stages" / step.name / "artifact.json").is_file():
            log.say(f"{title}: finished already, skipped")
        else:
            log.say(title)
            _run_stage(step, recipe, run_dir, device, lineage)
        if step.name == until:
            return


def _run_stage(step: Step, recipe: Recipe, run_dir: Path, device: str, lineage: dict[str, Any]) -> None:
    directory = run_dir / "stages" / step.name
    directory.mkdir(parents=True, exist_ok=True)
    failure = directory / "error.txt"
    failure.unlink(missing_ok=True)
    record = {"started": _now(), **lineage["stages"].get(step.name, {}), **step.record()}
    reference = step.config.model
    models = {} if reference is None else {reference: _model(reference, recipe, run_dir)}
    record["revisions"] = {name: path.name for name, path in models.items() if path.parent.name == "snapshots"}  # hub's
    lineage["stages"][step.name] = record
    artifact.write_json(run_dir / "lineage.json", lineage)
    context = StageContext(step.name, directory, step.seed, step.dtype, device, recipe.max_concurrent, models)
    start, before = time.monotonic(), record.get("seconds", 0.0)
    try:
        summary = importlib.import_module(STAGES[step.config.kind]).run(step.config, context)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted in stage {step.name}; {_advice(directory)}") from None
    except Exception as error:
        failure.write_text(traceback.format_exc(), encoding="utf-8")
        error.add_note(f"stage {step.name} failed; the traceback is in {failure}")
        raise
    finally:
        record["seconds"] = before + time.monotonic() - start
        artifact.write_json(run_dir / "lineage.json", lineage)
    _finish(step, directory, record, summary)
    artifact.write_json(run_dir / "lineage.json", lineage)
    log.say(f"{step.name}: done in {log.duration(record['seconds'])}")


def _finish(step: Step, directory: Path, record: dict[str, Any], summary: Mapping[str, Any]) -> None:
    """Publish what the stage made: artifact.json appears last, once all it vouches for is on disk."""
    parts = [part for part in OUTPUTS if (directory / part).is_dir()]
    for part in parts:
        artifact.sync_tree(directory / part)
    outputs = {f"{part}/{file}": sha for part in parts for file, sha in artifact.manifest(directory / part).items()}
    record["finished"] = _now()
    done = {"name": step.name, **record, "summary": summary, "outputs": outputs}
    artifact.write_json(directory / "artifact.json", done)


def _advice(directory: Path) -> str:
    checkpoints = any((directory / "checkpoints").glob("*"))
    return f"run the same command again to continue from {'its last checkpoint' if checkpoints else 'its start'}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# -- identity -----------------------------------------------------------------------------------------------------


def plan_steps(recipe: Recipe, dtype: str) -> list[Step]:
    """Every stage with its identity, in order. Reads local models and data to fingerprint them."""
    steps: dict[str, Step] = {}
    for name, config in recipe.stage.items():
        seed = config.seed if config.seed is not None else derive_seed(recipe.seed, name)
        parents = _parents(config, steps)
        decides = {**config.model_dump(mode="json"), "seed": seed, "dtype": dtype}
        sha = artifact.identity(config.kind, decides, parents, r1kit.__version__)
        steps[name] = Step(name, config, seed, dtype, parents, sha)
    return list(steps.values())


def _parents(config: StageConfig, earlier: Mapping[str, Step]) -> dict[str, str]:
    parents: dict[str, str] = {}
    if config.model is None:
        return parents
    if config.model in earlier:
        parents[config.model] = earlier[config.model].identity
    elif (directory := artifact.local_model(config.model)) is not None:
        parents[config.model] = artifact.fingerprint(directory)
    else:
        parents[config.model] = f"hub:{config.model}"
    for _, source in sources(config):
        if (path := Path(source.source).expanduser()).exists():
            parents[source.source] = artifact.fingerprint(path)
    return parents


def _model(reference: str, recipe: Recipe, run_dir: Path) -> Path:
    """The checkpoint a stage reads. An earlier stage's is checked against the hashes it was published with."""
    if reference not in recipe.stage:
        return artifact.resolve_model(reference)
    made = run_dir / "stages" / reference
    published = artifact.read_json(made / "artifact.json")["outputs"]
    found = {f"model/{file}": sha for file, sha in artifact.manifest(made / "model").items()}
    wrong = [name for name, sha in published.items() if name.startswith("model/") and found.get(name) != sha]
    if wrong:
        raise UserError(
            f"{made}: {', '.join(wrong)} differ from what stage {reference} published: damaged or edited. Restore "
            "them, or run the recipe in another --run-dir (what you edited can be named as the next stage's model)"
        )
    return made / "model"


def _refuse_changes(steps: Sequence[Step], run_dir: Path) -> None:
    """UserError when a stage that was started is no longer the one the recipe describes."""
    lines = []
    names = {f"parents.{step.name}" for step in steps}  # what changed there is told there
    for step in steps:
        before = _started(run_dir, step.name)
        if before is None or before["identity"] == step.identity:
            continue
        old, new = _flatten(before), _flatten(step.record())
        keys = [key for key in {**old, **new} if key != "identity" and old.get(key) != new.get(key)]
        for key in [key for key in keys if key not in names] or keys:
            name = f"stage.{step.name}.{key.removeprefix('config.')}"
            lines.append(f"  {name}: {old.get(key, 'absent')} then, {new.get(key, 'absent')} now")
    if lines:
        raise UserError(
            f"{run_dir}: this run was started with other settings:\n" + "\n".join(lines) + "\nGive the changed recipe "
            f"another --run-dir, or run it as it was: r1kit run {run_dir / 'recipe.toml'} --run-dir {run_dir}"
        )


def _started(run_dir: Path, name: str) -> dict[str, Any] | None:
    """The record of a stage that has made something here; None if it has not, as when it failed at its start."""
    directory, lineage = run_dir / "stages" / name, run_dir / "lineage.json"
    if (directory / "artifact.json").is_file():
        record = artifact.read_json(directory / "artifact.json")
    elif any(path.name != "error.txt" for path in directory.glob("*")) and lineage.is_file():
        record = artifact.read_json(lineage)["stages"].get(name)
    else:
        return None
    keys = ("kind", "identity", "parents", "seed", "dtype", "r1kit", "config")
    return record and {key: record[key] for key in keys}


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    parts = [_flatten(item, f"{path}.{key}" if path else key) for key, item in value.items()]
    return {key: item for part in parts for key, item in part.items()}


# -- the run directory --------------------------------------------------------------------------------------------


def _open_lineage(recipe: Recipe, run_dir: Path, device: str, dtype: str) -> dict[str, Any]:
    """Write the resolved recipe, and return lineage.json's content with what this process knows of itself."""
    artifact.write_bytes(run_dir / "recipe.toml", dump_toml(recipe).encode())
    path = run_dir / "lineage.json"
    stages = artifact.read_json(path)["stages"] if path.is_file() else {}
    return {
        "recipe": recipe.name,
        "seed": recipe.seed,
        "device": device,
        "dtype": dtype,
        "r1kit": r1kit.__version__,
        "source": artifact.hash_tree(Path(r1kit.__file__).parent, suffix=".py"),
        "commit": _git_commit(),
        "python": platform.python_version(),
        "versions": doctor.versions("torch", "transformers", "tokenizers", "safetensors", "numpy"),
        "platform": platform.platform(),
        "stages": stages,
    }


def _git_commit() -> str | None:
    """The commit this package is checked out at; None when it is installed rather than checked out."""
    root = Path(r1kit.__file__).parents[2]
    if not (root / ".git").exists() or (git := shutil.which("git")) is None:
        return None
    found = subprocess.run([git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


@contextmanager
def _locked(run_dir: Path) -> Iterator[None]:
    """Hold the directory against other processes. The system lets go of the lock however this process ends."""
    import fcntl

    lock = run_dir / ".lock"
    is_run = lock.exists() or (run_dir / "recipe.toml").exists()
    if run_dir.exists() and not is_run and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise UserError(f"{run_dir}: holds something other than a run; give an empty or new --run-dir")
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            raise UserError(f"{run_dir}: {owner} is running in it; wait for it, or use another --run-dir") from None
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {platform.node()}")
        handle.flush()
        yield


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """While inside, SIGTERM stops the run as ^C does, so that a scheduler's notice is heeded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before: Callable[..., object] | int | None = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

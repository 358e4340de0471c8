"""Training state on disk, written with torch.distributed.checkpoint (DCP).

    checkpoints/step_00000030/   weights, optimizer, reference model and critic (DCP shards), progress.json and
                                 progress.safetensors, manifest.json

A checkpoint is copied in memory between two steps and written in the background: into a temporary directory, with the
SHA-256 of every file, synced to disk, then renamed atomically. The newest checkpoint whose hashes match is restored.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as dcp_load
from torch.distributed.checkpoint.state_dict_saver import save as dcp_save

from r1kit.console import heartbeat, say, warn
from r1kit.errors import UserError
from r1kit.files import find_damage, fsync, publish, write_bytes, write_manifest
from r1kit.learn.lora import trained_weights
from r1kit.learn.optim import load_state
from r1kit.learn.sharded import is_shared, on_cpu, writers
from r1kit.learn.world import ALONE, World

KEEP = 2  # the newest, and one to fall back on
PROGRESS, PROGRESS_TENSORS = "progress.json", "progress.safetensors"
REFERENCE = "r1kit.tensor"  # {REFERENCE: name} in progress.json stands for a tensor in progress.safetensors
# torch warns that a single process saves; that is intended.
warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)


class TrainingState(Protocol):
    """What a checkpoint holds; `learn.learner.Learner` is one."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer, whose state is saved."""

    @property
    def master(self) -> torch.nn.Module:
        """The weights that `optimizer` updates."""

    @property
    def reference(self) -> torch.nn.Module | None:
        """The reference model, if there is one."""

    @property
    def critic(self) -> TrainingState | None:
        """The critic and its optimizer, if there is one."""

    def sync_compute_weights(self) -> None:
        """Copy the master weights to the compute weights. Called after `master` is restored."""


class Checkpoints:
    """The checkpoints of one stage. Close it, or leave its `with` block, before the trained model is used elsewhere.

    `logs` are append-only files whose lengths are part of a checkpoint. Several ranks write one checkpoint together,
    each its share of the tensors; any number of ranks may load it. Training never goes back behind the step `first`,
    at which the settings of the stage were amended.
    """

    def __init__(self, directory: Path, logs: Sequence[Path] = (), world: World = ALONE, first: int = 0) -> None:
        self.directory, self.logs, self.world, self.first = directory, logs, world, first
        self._ranks: dict[str, Any] = {"no_dist": True} if world.size == 1 else {"process_group": writers()}
        self._executor = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        self._best: dict[int, int | None] = {}  # step of a checkpoint -> step of the best evaluation up to it

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        with heartbeat("writing a checkpoint"):
            self._executor.shutdown()  # waits
        self.wait()

    def wait(self) -> None:
        """Block until the last `save` is on disk or has failed."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            with heartbeat("writing a checkpoint"):
                pending.result()

    def save(self, state: TrainingState, progress: Mapping[str, Any], is_needed: bool = False) -> None:
        """Start writing the checkpoint after `progress["step"]` updates; the newest KEEP stay, and the best of each.

        `progress` holds JSON values and tensors, such as the tokens of a rollout, and `metrics.best.Best.pack`.
        Training may continue at once. When the disk is full, the checkpoint is lost and a warning printed; if it
        `is_needed`, the next call, or leaving the block, raises UserError instead.
        """
        if not state.optimizer.state:  # every update so far was skipped: nothing differs from the stage's start
            return
        self.wait()
        lengths = {log.name: log.stat().st_size for log in self.logs if log.exists()}
        copied, ready = _copy(_tensors(state)), None
        if torch.cuda.is_available():
            # The GPU makes the copies before it changes the weights; only the writer waits for them.
            ready = torch.Event("cuda")
            ready.record()
        self._pending = self._executor.submit(self._write, copied, ready, {**progress, "logs": lengths}, is_needed)

    def restore(self, state: TrainingState) -> dict[str, Any] | None:
        """Load the newest undamaged checkpoint, and truncate the logs to their lengths at that time.

        Returns the progress that was saved, or None without a checkpoint. Damaged checkpoints are renamed, and a
        warning names them. Hyperparameters stay those of the optimizer, which may be others than when it was saved.

        Raises:
            UserError: No checkpoint from `first` on is undamaged.
        """
        newest = self.world.from_first(self._newest_undamaged)
        if self.first and (newest is None or step_of(newest) < self.first):
            raise UserError(
                f"{self.directory}: no intact checkpoint of step {self.first} or later, at which this stage was "
                f"amended: add --from {self.directory.parent.name} to run it again from its start"
            )
        progress: dict[str, Any] | None = None
        if newest is not None:
            tensors = _tensors(state)
            with heartbeat(f"loading the checkpoint {newest}"), _original_errors():
                dcp_load(tensors, checkpoint_id=newest, **self._ranks)
            _take_over(state, tensors)
            progress = read_progress(newest)
        lengths = progress.pop("logs") if progress is not None else {}
        if self.world.is_first:
            self._truncate_logs(lengths)
            self._delete_old()
        return progress

    def load_model(self, state: TrainingState, step: int) -> None:
        """Load the weights alone, from the checkpoint of a step that is known to be the best.

        Raises:
            UserError: The checkpoint is missing or damaged.
        """
        path = self.directory / f"step_{step:08d}"
        if faults := self.world.from_first(lambda: find_damage(path)):
            name = self.directory.parent.name
            raise UserError(
                f"{path}: {', '.join(faults)}. It has the best evaluation, so stage {name} cannot publish it. Restore "
                f"it, or add --amend and leave out best_metric to publish the last step, or --from {name} to run the "
                "stage again"
            )
        weights = {name: weight.detach() for name, weight in trained_weights(state.master).items()}
        with heartbeat(f"loading the checkpoint {path}"), _original_errors():
            dcp_load({"model": weights}, checkpoint_id=path, **self._ranks)
        state.sync_compute_weights()

    def _write(
        self, tensors: dict[str, Any], ready: torch.Event | None, progress: Mapping[str, Any], is_needed: bool
    ) -> None:
        start = time.monotonic()
        self._best[progress["step"]] = _best_step(progress)
        if ready is not None:
            ready.synchronize()
        final = self.directory / f"step_{progress['step']:08d}"
        temporary = self.directory / f".{final.name}.tmp"
        try:
            with _original_errors():
                dcp_save(tensors, storage_writer=FileSystemWriter(temporary, sync_files=False), **self._ranks)
            if not self.world.is_first:
                return
            write_progress(progress, temporary)
            for log in self.logs:
                if log.exists():
                    fsync(log)  # the checkpoint relies on the lines written so far
            write_manifest(temporary)
            publish(temporary, final)
            fsync(self.directory.parent)  # the first checkpoint creates `checkpoints` itself
            if faults := find_damage(final):
                raise OSError(f"read back differently from what was written: {', '.join(faults)}")
        except OSError as error:
            if not self.world.is_first:  # the first rank has the error too, and reports it
                return
            for unusable in (temporary, final):
                shutil.rmtree(unusable, ignore_errors=True)
            newest = self.newest()
            last = newest.name if newest else "none"
            fault = f"{final.name} could not be written ({error.strerror or error})"
            remedy = f"Free space on the disk of {self.directory}; the last good checkpoint is {last}"
            if is_needed:
                text = f"{fault}, but it has the best evaluation. {remedy}. Then run the same command again to continue"
                raise UserError(text) from error
            warn(f"{fault}. Training goes on. {remedy}")
        else:
            self._delete_old()
            size = sum(file.stat().st_size for file in final.iterdir())
            say(f"saved {final.name}: {size / 1e6:,.1f} MB in {time.monotonic() - start:.1f} s")

    def newest(self) -> Path | None:
        """Return the newest checkpoint, damaged or not."""
        return next(reversed(checkpoints(self.directory)), None)

    def _newest_undamaged(self) -> Path | None:
        for leftover in self.directory.glob(".step_*"):
            shutil.rmtree(leftover)
        while (path := self.newest()) is not None:
            if not (faults := find_damage(path)):
                return path
            renamed = path.with_name(f"damaged_{path.name}")
            shutil.rmtree(renamed, ignore_errors=True)
            path.rename(renamed)
            earlier = self.newest()
            warn(
                f"checkpoint {path} is damaged: {', '.join(faults)}. Renamed to {renamed.name}; resuming from "
                + (earlier.name if earlier else "the stage's start")
            )
        return None

    def _delete_old(self) -> None:
        all_checkpoints = checkpoints(self.directory)
        best = {self._best_step(kept) for kept in all_checkpoints[-KEEP:]}
        for checkpoint in all_checkpoints[:-KEEP]:
            if step_of(checkpoint) not in best:
                shutil.rmtree(checkpoint)

    def _best_step(self, checkpoint: Path) -> int | None:
        """Return the step of the best evaluation up to a checkpoint; None without one, or if it is unreadable."""
        step = step_of(checkpoint)
        if step not in self._best:
            self._best[step] = None
            with suppress(OSError, ValueError):  # damaged; whoever restores it finds out
                self._best[step] = _best_step(json.loads((checkpoint / PROGRESS).read_bytes()))
        return self._best[step]

    def _truncate_logs(self, lengths: Mapping[str, int]) -> None:
        """Drop the rows logged after the checkpoint; they will be logged again."""
        for log in self.logs:
            size, length = log.stat().st_size if log.exists() else 0, lengths.get(log.name, 0)
            if size > length:
                os.truncate(log, length)
            elif size < length:
                warn(f"{log} is {length - size} bytes shorter than at the checkpoint: rows are missing from it")


def checkpoints(directory: Path) -> list[Path]:
    """List the published checkpoints, oldest first."""
    return sorted(path for path in directory.glob("step_*") if re.fullmatch(r"step_\d{8}", path.name))


def step_of(checkpoint: Path) -> int:
    """Return the number of updates before a checkpoint, from its name."""
    return int(checkpoint.name.removeprefix("step_"))


def write_progress(progress: Mapping[str, Any], directory: Path) -> None:
    """Write progress.json, and the tensors in it to a file of their own."""
    tensors: dict[str, torch.Tensor] = {}

    def refer(value: torch.Tensor) -> dict[str, str]:
        name = f"tensor_{len(tensors)}"
        tensors[name] = value
        return {REFERENCE: name}

    write_bytes(directory / PROGRESS, json.dumps(progress, default=refer).encode())
    if tensors:
        save_file(tensors, directory / PROGRESS_TENSORS)


def read_progress(directory: Path) -> dict[str, Any]:
    """Return what `write_progress` wrote."""
    file = directory / PROGRESS_TENSORS
    tensors = load_file(file) if file.is_file() else {}

    def resolve(value: dict[str, Any]) -> Any:
        return tensors[value[REFERENCE]] if value.keys() == {REFERENCE} else value

    progress: dict[str, Any] = json.loads((directory / PROGRESS).read_bytes(), object_hook=resolve)
    return progress


def _best_step(progress: Mapping[str, Any]) -> int | None:
    best = progress.get("best")
    return best["step"] if best else None


def load_weights(model: torch.nn.Module, checkpoint: Path) -> None:
    """Fill the trained weights of a model from a checkpoint, rounded to the model's dtype."""
    weights = {name: weight.detach() for name, weight in trained_weights(model).items()}
    with heartbeat(f"loading the checkpoint {checkpoint}"), _original_errors():
        dcp_load({"model": weights}, checkpoint_id=checkpoint, no_dist=True)


def _tensors(state: TrainingState) -> dict[str, Any]:
    """Collect the tensors themselves, so that loading fills them in place."""
    tensors = {
        "model": {name: weight.detach() for name, weight in trained_weights(state.master).items()},
        "optimizer": get_optimizer_state_dict(state.master, state.optimizer),
    }
    if state.reference is not None:
        tensors["reference"] = state.reference.state_dict()
    if state.critic is not None:
        tensors["critic"] = _tensors(state.critic)
    return tensors


def _take_over(state: TrainingState, tensors: Mapping[str, Any]) -> None:
    """Continue with loaded tensors: those of models have been filled in place."""
    load_state(state.master, state.optimizer, tensors["optimizer"])
    state.sync_compute_weights()
    if state.critic is not None:
        _take_over(state.critic, tensors["critic"])


def _copy(value: Any) -> Any:
    """Copy nested dicts and lists, and every tensor in them to new CPU memory.

    Copies from a GPU go to pinned memory and are still under way on return.
    """
    if is_shared(value):
        return on_cpu(value, _copy(value.to_local()))
    if isinstance(value, torch.Tensor):
        copied = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        return copied.copy_(value.detach(), non_blocking=value.is_cuda)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


@contextmanager
def _original_errors() -> Iterator[None]:
    """Raise the error that DCP wraps in a CheckpointException, which does not derive from Exception.

    DCP's writer reports a failed write as a RuntimeError; then the OSError is found in its context.
    """
    try:
        yield
    except CheckpointException as wrapper:
        cause = next(iter(wrapper.failures.values()))[0]
        error: BaseException | None = cause
        while error is not None and not isinstance(error, OSError):
            error = error.__context__
        raise error or cause from wrapper

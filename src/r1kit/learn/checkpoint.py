"""Training state on disk, through torch.distributed.checkpoint: one process or many write the same format.

    checkpoints/step_00000030/   weights, optimizer and reference (DCP shards), progress.json, manifest.json

A checkpoint is copied in memory between two steps and written while training goes on: aside, with the SHA-256 of every
file, durably, and then under its name at once. What counts is the newest one whose hashes hold.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from r1kit.console import say
from r1kit.files import damage, fsync, publish, read_json, seal, write_bytes

KEEP = 2  # the newest, and one to fall back on
PROGRESS = "progress.json"
# One process is what is meant here.
warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)


class Trained(Protocol):
    """What a checkpoint holds; a Learner is one."""

    master: torch.nn.Module  # the weights that `optimizer` updates
    reference: torch.nn.Module | None
    optimizer: torch.optim.Optimizer

    def follow_master(self) -> None:
        """Called when `master` has been restored."""


class Checkpoints:
    """The checkpoints of one stage. Close it, or leave its `with`, before what they are of is used elsewhere.

    `logs` are files in which only lines are appended: a checkpoint knows how long they were.
    """

    def __init__(self, directory: Path, logs: Sequence[Path] = ()):
        self.directory, self.logs = directory, logs
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()  # waits
        self.wait()

    def wait(self) -> None:
        """Until what was saved last is on disk, or has failed."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def save(self, learner: Trained, progress: dict[str, Any]) -> None:
        """Have a checkpoint written that stands after `progress["step"]` updates; the newest KEEP stay.

        Training may go on at once. A disk that is full costs this checkpoint and a warning, nothing else.
        """
        if not learner.optimizer.state:  # every update so far was left out: the stage's start is as good
            return
        self.wait()
        lengths = {log.name: log.stat().st_size for log in self.logs if log.exists()}
        self._writing = self._writer.submit(self._write, _copy(_state(learner)), {**progress, "logs": lengths})

    def restore(self, learner: Trained) -> dict[str, Any] | None:
        """Load the newest whole checkpoint into the learner, and cut the logs back to what they were.

        Returns its progress, None when there is no checkpoint. Damaged ones are named and set aside.
        """
        for left_behind in self.directory.glob(".step_*"):
            shutil.rmtree(left_behind)
        found = self._newest_whole()
        if found is None:
            self._cut_logs({})
            return None
        state = _state(learner)
        with _plain_errors():
            dcp.load(state, checkpoint_id=found, no_dist=True)
        set_optimizer_state_dict(learner.master, learner.optimizer, optim_state_dict=state["optimizer"])
        learner.follow_master()
        progress = read_json(found / PROGRESS)
        self._cut_logs(progress.pop("logs"))
        self._drop_old()
        return progress

    def _write(self, state: dict[str, Any], progress: dict[str, Any]) -> None:
        final = self.directory / f"step_{progress['step']:08d}"
        aside = self.directory / f".{final.name}.tmp"
        try:
            aside.mkdir(parents=True)
            with _plain_errors():
                dcp.save(state, storage_writer=dcp.FileSystemWriter(aside, sync_files=False), no_dist=True)
            write_bytes(aside / PROGRESS, json.dumps(progress).encode())
            for log in self.logs:
                if log.exists():
                    fsync(log)  # a checkpoint must not outlive the lines it counts on
            seal(aside)
            publish(aside, final)
            fsync(self.directory.parent)  # the first makes `checkpoints` itself
            if wrong := damage(final):
                raise OSError(f"read back otherwise than written: {', '.join(wrong)}")
        except OSError as error:
            for unusable in (aside, final):
                shutil.rmtree(unusable, ignore_errors=True)
            last = self.newest()
            say(
                f"warning: {final.name} could not be written ({error.strerror or error}). Training goes on; the last "
                f"good checkpoint is {last.name if last else 'none'}. Make room on the disk of {self.directory}"
            )
        else:
            self._drop_old()

    def newest(self) -> Path | None:
        """The newest checkpoint there is, whole or not."""
        return next(reversed(checkpoints(self.directory)), None)

    def _newest_whole(self) -> Path | None:
        while (path := self.newest()) is not None:
            if not (wrong := damage(path)):
                return path
            kept = path.with_name(f"damaged_{path.name}")
            shutil.rmtree(kept, ignore_errors=True)
            path.rename(kept)
            before = self.newest()
            say(
                f"warning: checkpoint {path} is damaged: {', '.join(wrong)}. Set aside as {kept.name}; going on from "
                + (before.name if before else "the stage's start")
            )
        return None

    def _drop_old(self) -> None:
        for old in checkpoints(self.directory)[:-KEEP]:
            shutil.rmtree(old)

    def _cut_logs(self, lengths: dict[str, int]) -> None:
        """Forget what was logged after the checkpoint: it will be logged again."""
        for log in self.logs:
            size, length = log.stat().st_size if log.exists() else 0, lengths.get(log.name, 0)
            if size > length:
                os.truncate(log, length)
            elif size < length:
                say(f"warning: {log} is {length - size} bytes shorter than at the checkpoint: rows are missing from it")


def checkpoints(directory: Path) -> list[Path]:
    """The published checkpoints, oldest first."""
    return sorted(path for path in directory.glob("step_*") if re.fullmatch(r"step_\d{8}", path.name))


def _state(learner: Trained) -> dict[str, Any]:
    """The tensors themselves, so that loading fills them in place."""
    state = {
        "model": learner.master.state_dict(),
        "optimizer": get_optimizer_state_dict(learner.master, learner.optimizer),
    }
    if learner.reference is not None:
        state["reference"] = learner.reference.state_dict()
    return state


def _copy(value: Any) -> Any:
    """The same with every tensor copied to memory of its own on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


@contextmanager
def _plain_errors() -> Iterator[None]:
    """torch.distributed.checkpoint raises what is no Exception, wrapped around what really happened."""
    try:
        yield
    except CheckpointException as error:
        cause = next(iter(error.failures.values()))[0]
        disk = cause  # torch's own writer reports a write that failed as a RuntimeError, in the course of which it was
        while disk is not None and not isinstance(disk, OSError):
            disk = disk.__context__
        raise disk or cause from error

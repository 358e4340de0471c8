"""Training state on disk, through torch.distributed.checkpoint: one process or many write the same format.

    checkpoints/step_00000030/   weights, optimizer and reference (DCP shards), progress.json

A checkpoint is written aside and appears under its name at once, so what stands there is whole.
"""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from r1kit.artifact import publish, read_json, write_json
from r1kit.model.decoder import Decoder

KEEP = 2
# One process is what is meant here.
warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)


class Trained(Protocol):
    """What a checkpoint holds; a Learner is one."""

    master: Decoder  # the weights that `optimizer` updates
    reference: Decoder | None
    optimizer: torch.optim.Optimizer

    def follow_master(self) -> None:
        """Called when `master` has been restored."""


def save(learner: Trained, progress: dict[str, Any], directory: Path) -> Path:
    """Publish a checkpoint after `progress["step"]` updates; the newest KEEP stay."""
    assert learner.optimizer.state, "torch fills an empty optimizer by a step that counts: save after an update"
    final = directory / f"step_{progress['step']:08d}"
    aside = directory / f".{final.name}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    dcp.save(_state(learner), checkpoint_id=aside, no_dist=True)
    write_json(aside / "progress.json", progress)
    publish(aside, final)
    for old in checkpoints(directory)[:-KEEP]:
        shutil.rmtree(old)
    return final


def restore(learner: Trained, directory: Path) -> dict[str, Any] | None:
    """Load the newest checkpoint into the learner. Returns its progress, None when there is none."""
    found = checkpoints(directory)
    if not found:
        return None
    state = _state(learner)
    dcp.load(state, checkpoint_id=found[-1], no_dist=True)
    set_optimizer_state_dict(learner.master, learner.optimizer, optim_state_dict=state["optimizer"])
    learner.follow_master()
    return read_json(found[-1] / "progress.json")


def checkpoints(directory: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
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

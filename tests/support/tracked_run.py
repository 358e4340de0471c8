"""A run directory that grows by hand, and what each tracker has of it, read back with the tracker's own package."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r1kit import files
from r1kit.metrics.log import MetricsLog
from r1kit.run_dir import RunDir

STARTED = "2030-01-01T00:00:00+00:00"
RESULTS = {"model": "zero", "benchmarks": {"sums": {"pass@1": 0.5, "ci95": [0.4, 0.6], "by_level": {"1": {}}}}}
Steps = dict[int, dict[str, float]]


def begin_run(path: Path) -> RunDir:
    """Write a run with one stage, zero, that has logged nothing."""
    run = RunDir(path)
    run.stage("zero").path.mkdir(parents=True)
    run.recipe.write_text('name = "tiny"\ntrack = ["tensorboard"]\n[stage.zero]\nkind = "rl"\n')
    files.write_json(run.lineage, {"recipe": "tiny", "seed": 3, "device": "cpu", "stages": {}})
    add_stage(run, "zero", {"kind": "rl", "steps": 100, "rewards": {"accuracy": 1.0}})
    return run


def add_stage(run: RunDir, name: str, config: dict, identity: str = "first") -> None:
    """Record a stage in lineage.json, or record it as changed."""
    lineage = files.read_json(run.lineage)
    lineage["stages"][name] = {"started": STARTED, "identity": identity, "config": config}
    run.stage(name).path.mkdir(parents=True, exist_ok=True)
    files.write_json(run.lineage, lineage)


def log_steps(run: RunDir, *steps: int, stage: str = "zero") -> None:
    """Log steps whose reward is a tenth of their number."""
    log = MetricsLog(run.stage(stage).metrics)
    for step in steps:
        log.append({"step": step, "reward": step / 10, "eval/sums/pass@1": 0.25, "time/step": 2.0})


def evaluate(run: RunDir) -> None:
    """Add a finished evaluation."""
    add_stage(run, "eval", {"kind": "evaluate"})
    files.write_json(run.stage("eval").results, RESULTS)
    run.stage("eval").artifact.write_text("{}")


def wait_until_sent(run: RunDir, tracker: str, *stages: str) -> None:
    """Wait until a tracker has these stages: a run waits for it a minute, and the machine may be busy."""
    end, path = time.monotonic() + 300, run.trackers / f"{tracker}.json"
    while not path.exists() or not all(files.read_json(path).get(stage, {}).get("finished") for stage in stages):
        assert time.monotonic() < end, f"{tracker} has not got {stages}"
        time.sleep(0.1)


def tensorboard_steps(run: RunDir) -> dict[str, Steps]:
    """Return what TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shown: dict[str, Steps] = {}
    for folder in sorted((run.trackers / "tensorboard").iterdir()):
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                _add(shown.setdefault(folder.name, {}), event.step, tag.replace("_at_", "@"), event.value)
    return shown


def mlflow_steps(run: RunDir) -> dict[str, Steps]:
    """Return what MLflow has."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("tiny")
    shown: dict[str, Steps] = {}
    for each in client.search_runs([experiment.experiment_id]):
        steps = shown.setdefault(each.data.tags["r1kit.stage"], {})
        for key in each.data.metrics:
            for metric in client.get_metric_history(each.info.run_id, key):
                if key != "step":
                    _add(steps, metric.step, key.replace("_at_", "@"), metric.value)
    return shown


def wandb_steps(run: RunDir) -> dict[str, Steps]:
    """Return what the offline files of Weights & Biases hold."""
    shown: dict[str, Steps] = {}
    for path in sorted(Path(os.environ["WANDB_DIR"]).glob("wandb/offline-run-*/*.wandb")):
        records = _complete_wandb_file(path)
        stage = next(each.run.display_name for each in records if each.run.display_name).partition("/")[2]
        for each in records:
            items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in each.history.item}
            for name in items.keys() - {"_step", "_runtime", "_timestamp"}:
                _add(shown.setdefault(stage, {}), items["_step"], name, items[name])
    return shown


def _complete_wandb_file(path: Path) -> list[Any]:
    """Return the records of a file up to that of the run's exit, which wandb writes after `finish` has returned."""
    from wandb.proto.wandb_internal_pb2 import Record

    end, records = time.monotonic() + 60, list[Any]()
    while not records or not records[-1].HasField("exit"):
        assert time.monotonic() < end, f"{path} has no end"
        time.sleep(0.05)
        records = [Record.FromString(data) for data in _wandb_records(path.read_bytes())]
    return records


def _wandb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a file in LevelDB's log format: blocks of 32 KiB, with parts of records behind headers.

    A part that is still being written, at the end, is left out.
    """
    at, record = 7, b""  # after the file's own header
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        if at + 7 + length > len(data):
            return
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # complete, or the last part
            yield record
            record = b""


def trackio_steps(run: RunDir) -> dict[str, Steps]:
    """Return what the local database of Trackio holds."""
    from trackio.api import Api
    from trackio.sqlite_storage import SQLiteStorage

    shown: dict[str, Steps] = {}
    for each in Api().runs("tiny"):
        steps = shown.setdefault(each.name.split("-")[-2], {})
        for row in SQLiteStorage.get_logs("tiny", each.name, run_id=each.id):
            for name in row.keys() - {"step", "timestamp"}:
                _add(steps, row["step"], name, row[name])
    return shown


def _add(steps: Steps, step: int, name: str, value: float) -> None:
    values = steps.setdefault(step, {})
    assert name not in values, f"{name} twice at step {step}"
    values[name] = round(value, 6)


READERS = {
    "tensorboard": tensorboard_steps,
    "mlflow": mlflow_steps,
    "wandb": wandb_steps,
    "trackio": trackio_steps,
}

"""MLflow: an experiment for each recipe, on the server or in the file that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1kit.errors import require
from r1kit.trackers.base import Row, TrackedStage, plain_name

PACKAGE = "mlflow"
ID = "r1kit.id"  # a tag, as MLflow chooses the ids of its runs
STEP = "step"  # a metric of every row, which tells what MLflow has
BATCH = 1000  # metrics in one request, at most
PARAM = 6000  # characters of a parameter, at most


def open_run(stage: TrackedStage, sent: int) -> _Run:
    """Start the run of a stage, or continue the one that carries its id."""
    client = require("mlflow.tracking", "mlflow").MlflowClient()
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", stage.project)
    experiment = client.get_experiment_by_name(name)
    experiment_id = client.create_experiment(name) if experiment is None else experiment.experiment_id
    runs = client.search_runs([experiment_id], f"tags.`{ID}` = '{stage.id}'")
    if runs:
        run_id = runs[0].info.run_id
        client.update_run(run_id, status="RUNNING")
    else:
        tags = {ID: stage.id, "r1kit.run": stage.run, "r1kit.stage": stage.name}
        run_id = client.create_run(experiment_id, tags=tags, run_name=stage.title).info.run_id
        for key, value in stage.config.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            client.log_param(run_id, key, text[:PARAM])
        client.log_text(run_id, stage.recipe, "recipe.toml")
    return _Run(client, run_id)


def where(folder: Path) -> str:
    """Return where the runs are."""
    mlflow = require(PACKAGE, "mlflow")
    uri = mlflow.get_tracking_uri()
    return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"


class _Run:
    def __init__(self, client: Any, run_id: str) -> None:
        self.client, self.run_id = client, run_id
        history = client.get_metric_history(run_id, STEP)
        self.last_step = max((metric.step for metric in history), default=-1)

    def log(self, rows: Sequence[Row]) -> None:
        metric = require("mlflow.entities", "mlflow").Metric
        largest = max(len(row.values) for row in rows) + 1
        at_once = max(1, BATCH // largest)
        for start in range(0, len(rows), at_once):
            self.client.log_batch(
                self.run_id,
                metrics=[
                    metric(plain_name(name), value, int(1000 * row.time), row.step)
                    for row in rows[start : start + at_once]
                    for name, value in {**row.values, STEP: row.step}.items()
                ],
            )

    def close(self, is_finished: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if is_finished else "KILLED")

"""What a model card says, as plain values for its template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1kit.report import ancestry
from r1kit.report.card.inputs import Input, inputs_of, shown
from r1kit.report.card.limits import limits_of
from r1kit.report.card.results import Table, evaluations_of, tables
from r1kit.report.collect import Run, Stage, collect, is_number
from r1kit.report.header import duration
from r1kit.report.sections import AlertSummary, warnings
from r1kit.run_dir import RunDir

QUESTION = "What is 12 + 30?"  # where no evaluation has one


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage that the model was made by."""

    name: str
    kind: str
    start: str
    """The model that it starts from."""
    reads: str
    """Its problems, records and rewards."""
    amount: str
    time: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the template model_card.md shows."""

    repository: str
    stage: Stage
    run: Run
    lineage: Mapping[str, Any]
    parameters: int
    base: str
    """The model that the first of its stages starts from; "" if it was trained from scratch."""
    inputs: Sequence[Input]
    stages: Sequence[StageLine]
    evals: Mapping[str, Mapping[str, Any]]
    """Of this model and of the base, by evaluate stage."""
    tables: Sequence[Table]
    in_training: Mapping[str, float]
    """The last evaluation during training."""
    alerts: Sequence[AlertSummary]
    amendments: Sequence[str]
    """Settings that were changed while a stage was under way."""
    time: str
    limits: Sequence[str]
    template: str
    system_prompt: str
    question: str


def facts_of(run_dir: Path, stage: str, repository: str) -> Facts:
    """Read what is known of the model of a stage."""
    run, lineage = collect(run_dir), ancestry.trace(run_dir, stage)
    names = [each["name"] for each in lineage["stages"]]
    made_by = [each for each in run.stages if each.name in names]
    own = next(each for each in made_by if each.name == stage)
    base = _base(own, {each.name: each for each in made_by})
    evals = evaluations_of(run, (base, stage))
    inputs = inputs_of(lineage)
    parameters = _parameters(RunDir(run_dir).stage(stage).model)
    return Facts(
        repository=repository,
        stage=own,
        run=run,
        lineage=lineage,
        parameters=parameters,
        base=base,
        inputs=inputs,
        stages=[_stage_line(each, names) for each in made_by],
        evals=evals,
        tables=tables(evals),
        in_training=_last_evaluation(own),
        alerts=warnings(made_by),
        amendments=[text for each in made_by for text in _amendments(each)],
        time=duration(sum(each.seconds for each in made_by)),
        limits=limits_of(run, own, made_by, parameters, base, evals),
        template=str(own.config.get("template") or ("chat" if own.kind == "sft" else "none")),
        system_prompt=str(own.config.get("system_prompt") or ""),
        question=_question(run, evals),
    )


def _base(stage: Stage, stages: Mapping[str, Stage]) -> str:
    """Return the model from outside the run that a stage starts from, through earlier stages; "" for a new one."""
    model = stage.config.get("model")
    while model in stages:
        model = stages[str(model)].config.get("model")
    return str(model or "")


def _parameters(directory: Path) -> int:
    """Count the weights of a checkpoint by its headers; tied weights are stored, and counted, once."""
    from safetensors import safe_open

    total = 0
    for path in directory.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  # no mapping
                size = 1
                for length in file.get_slice(name).get_shape():
                    size *= length
                total += size
    return total


def _stage_line(stage: Stage, names: Sequence[str]) -> StageLine:
    inputs = ancestry.reads(stage.config, dict.fromkeys(names))
    weights = stage.config.get("rewards") if stage.kind == "rl" else None
    rewards = ", ".join(f"{name} x {weight:g}" for name, weight in (weights or {}).items())
    reads = ", ".join(shown(name) for use in ("prompts", "data") for name in inputs.get(use, []))
    return StageLine(
        name=stage.name,
        kind=stage.kind,
        start=", ".join(map(shown, inputs.get("model", []))),
        reads=f"{reads}; rewards: {rewards}" if rewards else reads,
        amount=", ".join([*(f"{value:,} {key}" for key, value in _summary(stage).items()), *_best(stage)]),
        time=duration(stage.seconds),
    )


def _amendments(stage: Stage) -> list[str]:
    """Return one sentence for each change of the settings of a stage while it was under way."""
    return [
        f"{stage.name}, after step {amendment['step']:,}: "
        + "; ".join(
            f"{key} from {json.dumps(old)} to {json.dumps(new)}" for key, (old, new) in amendment["changed"].items()
        )
        for amendment in stage.artifact.get("amendments", [])
    ]


def _summary(stage: Stage) -> dict[str, int]:
    summary = stage.artifact.get("summary") or {}
    return {key: summary[key] for key in ("steps", "prompts", "records", "tokens") if isinstance(summary.get(key), int)}


def _best(stage: Stage) -> list[str]:
    """Return which step was published, if it is not the last."""
    step = (stage.artifact.get("summary") or {}).get("published_step")
    return [f"of which step {step:,} was the best and is published"] if isinstance(step, int) else []


def _last_evaluation(stage: Stage) -> dict[str, float]:
    """Return the last evaluation on held-out problems during training."""
    rows = [row for row in stage.metrics if any(key.startswith("eval/") for key in row)]
    return (
        {key: value for key, value in rows[-1].items() if key.startswith("eval/") and is_number(value)} if rows else {}
    )


def _question(run: Run, evals: Mapping[str, Any]) -> str:
    """Return a question that the model was asked."""
    questions = (row.get("question") for stage in run.stages if stage.name in evals for row in stage.samples)
    return str(next((text for text in questions if isinstance(text, str) and "\n" not in text), QUESTION))

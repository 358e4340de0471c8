"""How a benchmark was measured, stored and printed with its numbers: two runs compare only if these agree."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from r1kit.config import Evaluate, Prompting, PromptSource
from r1kit.engine.base import SamplingParams
from r1kit.evals.graders import rules_of
from r1kit.evals.judging.judges import judge_facts, judge_numbers
from r1kit.evals.lengths import lengths_by_grade
from r1kit.evals.metrics import ProblemResult
from r1kit.evals.named.paper import paper_numbers
from r1kit.evals.scoring.ifeval import followed
from r1kit.evals.task import Task, measured_as
from r1kit.rollout.sample import sampling_params
from r1kit.types import Problem

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """How one benchmark is sampled."""

    style: Prompting
    samples: int
    params: SamplingParams
    task: Task | None = None
    sources: Sequence[PromptSource] = ()
    """Where the problems come from."""


def setting_of(config: Evaluate, seed: int, task: Task | None, sources: Sequence[PromptSource] = ()) -> Setting:
    """Return the setting of a benchmark: the keys of the stage, and what it leaves open, from the benchmark."""
    config = measured_as(config, task)
    return Setting(config, config.samples, sampling_params(config, seed, config.max_completion_length), task, sources)


def protocol(setting: Setting, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return how a benchmark is measured, for results.json."""
    style, params, task = setting.style, setting.params, setting.task
    ids = "\n".join(sorted(problem.id for problem in problems))
    return {
        "benchmark": None if task is None else task.name,
        "data": hashlib.sha256(ids.encode()).hexdigest()[:16],
        "sources": [source.model_dump(exclude_defaults=True) for source in setting.sources],
        "template": style.template,
        "system_prompt": style.system_prompt,
        "prompt_suffix": style.prompt_suffix,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "samples": setting.samples,
        "max_completion_length": params.max_tokens,
        "graded_text": "after the last </think>",
        "extraction": rules_of(problems),
        "denominator": len(problems) * setting.samples,
        "published_problems": None if task is None else task.n,
        **judge_facts(problems),
    }


def with_protocol(
    summary: dict[str, Any],
    setting: Setting,
    problems: Sequence[Problem],
    results: Sequence[ProblemResult],
    rows: Sequence[Row],
) -> dict[str, Any]:
    """Return a summary with its protocol, the rates that qualify its numbers, and the paper's numbers."""
    stated = protocol(setting, problems)
    assert len(rows) == stated["denominator"], f"{len(rows)} completions, not {stated['denominator']}"
    extracted = {result.problem_id for result in results if result.extracts}
    read = [row for row in rows if row["correct"] is not None and row["prompt_id"] in extracted]
    means = [fmean(result.credit or result.correct) for result in results if result.correct]
    families = [group["pass@1"] for group in summary.get("by_family", {}).values()]
    paper = {} if setting.task is None else paper_of(setting.task, setting.samples)
    return {
        **summary,
        **({"standard_error": stdev(means) / len(means) ** 0.5} if len(means) > 1 else {}),
        **({"unparsed": fmean(row["extracted"] is None for row in read)} if read else {}),
        **({"macro": fmean(families)} if len(families) > 1 else {}),
        "lengths": lengths_by_grade(rows),
        **judge_numbers(problems, rows),
        **followed(problems, rows),
        "protocol": stated,
        **({"paper": paper} if paper else {}),
    }


def paper_of(task: Task, samples: int) -> dict[str, dict[str, float]]:
    """Return metric -> model -> number of the paper, in per cent, for the metrics that our table has."""
    metrics = dict.fromkeys((task.metric, "pass@1", f"cons@{samples}"))
    tables = {metric: {n.model: n.value for n in paper_numbers(task.name, metric)} for metric in metrics}
    return {metric: numbers for metric, numbers in tables.items() if numbers}

"""The evaluate stage: evaluate a model on held-out problems by the paper's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from r1kit.config import Evaluate
from r1kit.evals.benchmark import evaluate_model
from r1kit.rewards.judge.endpoint import SAMPLING_TIMEOUT, Endpoint
from r1kit.stages.context import StageContext


def run(config: Evaluate, context: StageContext) -> dict[str, Any]:
    """Write results.json, problems.jsonl and samples.jsonl to data/. Return pass@1 by benchmark.

    Completions are sampled and graded in blocks, each written to disk atomically, so an interrupted stage continues at
    the first missing block.
    """
    model: Path | Endpoint
    if config.endpoint is not None:
        model = Endpoint.from_service(config.endpoint, context.files.endpoint_cache, SAMPLING_TIMEOUT)
    else:
        model = context.models[config.measured]
    compute = context.device, context.dtype, context.max_concurrent, context.kv_cache_tokens
    saved = context.files.checkpoints
    evaluation = evaluate_model(model, config, context.seed, *compute, context.reward_workers, saved, context.engine)
    evaluation.publish(config.measured, context.files.data)
    return {name: summary["pass@1"] for name, summary in evaluation.benchmarks.items() if "pass@1" in summary}

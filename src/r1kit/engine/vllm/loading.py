"""Put weights into a model that vLLM runs. Everything here runs in vLLM's process, which may be this one."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

RELOAD = "vllm.model_executor.model_loader.reload"


def load_into_worker(worker: Any, weights: Iterable[tuple[str, Any]]) -> list[str]:
    """Replace all weights of a worker's model, as vLLM's own `reload_weights` does.

    Args:
        worker: A worker of vLLM, as `collective_rpc` passes it.
        weights: Tensors under Hugging Face's names.

    Returns:
        The model's parameters that got no weights. vLLM itself only logs them.
    """
    with import_module("vllm.config").set_current_vllm_config(worker.vllm_config):
        runner = worker.model_runner
        begin(runner.get_model())
        missing = load(runner.get_model(), weights)
        finish(runner.get_model(), worker.vllm_config.model_config)
    return missing


def begin(model: Any) -> None:
    """Prepare a model for new weights."""
    import_module(RELOAD).initialize_layerwise_reload(model)


def load(model: Any, weights: Iterable[tuple[str, Any]]) -> list[str]:
    """Load weights into a model between `begin` and `finish`. Return the parameters that got none."""
    wanted = {name for name, _ in model.named_parameters()}
    return sorted(wanted - set(model.load_weights(weights)))


def finish(model: Any, config: Any) -> None:
    """Make a model ready to run with its new weights."""
    import_module(RELOAD).finalize_layerwise_reload(model, config)

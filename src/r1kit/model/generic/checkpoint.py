"""Load and save models of transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, LinearAttentionCacheLayerMixin
from transformers.utils import logging

from r1kit.console import heartbeat, warn
from r1kit.errors import UserError
from r1kit.files import read_json, write_json
from r1kit.model.generic.decoder import GenericDecoder
from r1kit.model.generic.shape import GenericConfig
from r1kit.model.policy import Policy

PROBE = (1, 3, 2, 0)  # tokens


def load_generic(
    directory: Path, config: GenericConfig, dtype: torch.dtype, device: torch.device | str
) -> GenericDecoder:
    """Load a causal language model with transformers.

    Raises:
        UserError: transformers cannot load it, its logits are not hidden states times an output matrix, or it keeps
            another state than keys and values.
    """
    model = GenericDecoder(read_weights(AutoModelForCausalLM, directory, dtype, device), config)
    _refuse_other_logits(model)
    _refuse_other_state(model)
    return model


def read_weights(kind: Any, directory: Path, dtype: torch.dtype, device: torch.device | str) -> PreTrainedModel:
    """Return a model of transformers. `kind` is one of its Auto classes.

    Raises:
        UserError: transformers cannot load it, or its weights are incomplete or not finite.
    """
    try:
        with heartbeat(f"loading the model {directory}"), _quiet():
            lm, found = kind.from_pretrained(
                directory, dtype=dtype, local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, AttributeError, SafetensorError) as error:
        raise UserError(f"{directory}: transformers cannot load the model: {error}") from error
    problems = {key: sorted(map(str, found[key])) for key in ("missing_keys", "mismatched_keys") if found[key]}
    if problems:
        details = "; ".join(f"{key.replace('_', ' ')}: {', '.join(names[:4])}" for key, names in problems.items())
        raise UserError(f"{directory}: the weights do not match config.json. {details}")
    if unused := sorted(found["unexpected_keys"]):
        warn(f"{directory}: {len(unused)} tensors are not part of the model, such as {unused[0]}: left out")
    _refuse_non_finite(lm, directory)
    loaded: PreTrainedModel = lm.to(device)
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bars and reports of missing weights; `read_weights` reports them itself."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    silence: Any = logging  # transformers leaves it untyped
    silence.set_verbosity_error()
    silence.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            silence.enable_progress_bar()


def _refuse_non_finite(lm: nn.Module, directory: Path) -> None:
    for name, weight in lm.named_parameters():
        if weight.numel() and not bool(torch.stack(torch.aminmax(weight.detach())).isfinite().all()):
            raise UserError(f"{directory}: {name} has values that are NaN or infinite: use an undamaged checkpoint")


@torch.inference_mode()
def _refuse_other_logits(model: GenericDecoder) -> None:
    """Refuse models that change their logits: the learner computes them from the output matrix alone."""
    head = model.lm.get_output_embeddings()
    if head is None or getattr(head, "bias", None) is not None:
        raise UserError(
            f"{type(model.lm).__name__} has no output matrix, or a bias behind it: r1kit cannot compute its logits"
        )
    tokens_1T = torch.tensor([PROBE], device=model.device)
    expected: Tensor = model.lm(input_ids=tokens_1T, use_cache=False).logits.float()
    difference = float((model.logits(model(tokens_1T)).float() - expected).abs().max())
    if difference > 0.02 * float(expected.abs().max()) + 1e-6:
        raise UserError(
            f"{type(model.lm).__name__} changes its logits after the output matrix (a cap, scale or bias), by up "
            f"to {difference:.2g}: r1kit computes log-probabilities from hidden states and this matrix alone. Use a "
            "model without that, such as a later version of its family"
        )


@torch.inference_mode()
def _refuse_other_state(model: GenericDecoder) -> None:
    """Refuse models whose cache is more than keys and values: its rows cannot be copied and left."""
    tokens_1T, cache = torch.tensor([PROBE], device=model.device), DynamicCache(config=model.lm.config)
    model.decode(tokens_1T, torch.ones_like(tokens_1T, dtype=torch.bool), cache)
    kinds = {type(layer) for layer in cache.layers}
    plain = all(issubclass(k, DynamicLayer) and not issubclass(k, LinearAttentionCacheLayerMixin) for k in kinds)
    if not plain or cache.get_seq_length() != len(PROBE):
        raise UserError(
            f"{type(model.lm).__name__} keeps a state besides keys and values, which completions cannot share: "
            "use a model with attention in every layer"
        )


def save_generic(model: Policy, directory: Path, max_shard_bytes: int) -> None:
    """Write config.json and the weights, under the names that the hub has for the architecture."""
    assert isinstance(model, GenericDecoder)
    with _quiet():
        model.lm.save_pretrained(directory, max_shard_size=max_shard_bytes)
    path, config = directory / "config.json", model.config
    content = {**read_json(path), **model.hugging_face_keys()}
    if not _scales_positions(content):
        content["max_position_embeddings"] = config.max_position_embeddings
    eos = config.eos_token_ids
    if eos:
        content["eos_token_id"] = eos[0] if len(eos) == 1 else list(eos)
    write_json(path, content)


def _scales_positions(content: dict[str, Any]) -> bool:
    """Return whether other positions would change the model: RoPE is scaled by them, or they are learned."""
    rope = content.get("rope_parameters") or content.get("rope_scaling")
    kinds = {part.split('"')[0] for part in json.dumps(rope).split('"rope_type": "')[1:]}
    return rope is None or kinds != {"default"}

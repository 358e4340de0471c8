"""What vLLM is given of a model: config.json, and the weights under Hugging Face's names.

The output matrix is always sent, also where it is tied to the embedding: a reload in vLLM replaces only one of two tied
tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from r1kit.model.decoder import Decoder
from r1kit.model.dtypes import dtype_name
from r1kit.model.generic.decoder import GenericDecoder
from r1kit.model.hf_config import config_to_hf
from r1kit.model.policy import Policy
from r1kit.model.weights import HEAD, hugging_face_parts, hugging_face_views

UNTIED = {"tie_word_embeddings": False}


def served_config(model: Policy) -> dict[str, Any]:
    """Return config.json for vLLM."""
    dtype = {"torch_dtype": dtype_name(model.head_weight.dtype)}
    if isinstance(model, GenericDecoder):
        return {**model.lm.config.to_dict(), **UNTIED, **dtype}
    return {**config_to_hf(model.config), **UNTIED, **dtype}


def served_names(model: Policy) -> frozenset[str]:
    """Return the names of all weights that vLLM needs."""
    if isinstance(model, GenericDecoder):
        return frozenset(_on_the_hub(model, {name: weight.to("meta") for name, weight in _merged(model.lm)}))
    with torch.device("meta"):
        views = hugging_face_views(Decoder(model.config))
    return frozenset({*views, HEAD})


@torch.no_grad()
def served_weights(model: Policy) -> Iterator[tuple[str, Tensor]]:
    """Yield all weights one at a time, with adapters merged. They may share the model's memory."""
    if isinstance(model, GenericDecoder):
        yield from _on_the_hub(model, dict(_merged(model.lm))).items()
        return
    for name, weight in _merged(model):
        yield from hugging_face_parts(model.config, name, weight).items()
    if model.config.tie_word_embeddings:
        yield HEAD, model.head_weight.detach()


def _on_the_hub(model: GenericDecoder, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names that the hub has for the architecture: transformers fuses experts, for example."""
    from transformers.core_model_loading import revert_weight_conversion

    return cast(dict[str, Tensor], revert_weight_conversion(model.lm, weights))


def _merged(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights under the names they have without adapters, each with its adapter's product added."""
    adapted: dict[str, Any] = {name: m for name, m in module.named_modules() if hasattr(m, "get_delta_weight")}
    for name, weight in module.state_dict().items():
        layer, _, kind = name.partition(".base_layer.")
        if layer in adapted:
            if kind == "weight":
                weight = (weight.float() + adapted[layer].get_delta_weight("default").float()).to(weight.dtype)
            yield f"{layer}.{kind}", weight
        elif ".lora_" not in name:
            yield name, weight.detach()

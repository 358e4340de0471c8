"""The table of model families against transformers, new models, and shapes of public models."""

from __future__ import annotations

import pytest
import transformers

from r1kit.config import Architecture
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.model.families import FAMILIES
from r1kit.model.hf_config import config_from_hf, config_to_hf
from r1kit.plan.known_shapes import KNOWN_SHAPES, known_shape


def architecture(model_type: str) -> Architecture:
    sizes = dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2)
    return Architecture(model_type=model_type, **sizes, num_attention_heads=6, num_key_value_heads=2)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_classes_exist_in_transformers(model_type: str):
    for name in (FAMILIES[model_type].causal_lm_class, FAMILIES[model_type].sequence_classification_class):
        assert getattr(transformers, name).config_class.model_type == model_type


@pytest.mark.parametrize("model_type", FAMILIES)
def test_defaults_are_those_of_transformers(model_type: str):
    defaults = transformers.AutoConfig.for_model(model_type)
    sizes = dict(vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    config = config_from_hf({"model_type": model_type, **sizes})
    assert config.max_position_embeddings == defaults.max_position_embeddings
    assert config.rms_norm_eps == defaults.rms_norm_eps
    assert config.tie_word_embeddings == defaults.tie_word_embeddings
    peer = transformers.AutoConfig.for_model(model_type, **sizes)
    assert config.head_dim == getattr(peer, "head_dim", None) or 16


@pytest.mark.parametrize("model_type", FAMILIES)
def test_new_model_follows_its_family(model_type: str):
    config = ModelConfig.from_architecture(architecture(model_type), vocab_size=100, context_length=4096)
    assert (config.head_dim, config.max_position_embeddings, config.tie_word_embeddings) == (8, 4096, True)
    names = [name for name, _ in Decoder(config).named_parameters()]
    assert any(name.endswith("qkv.bias") for name in names) == FAMILIES[model_type].qkv_bias
    assert any("q_norm" in name for name in names) == FAMILIES[model_type].qk_norm
    assert config.parameter_count() == sum(p.numel() for p in Decoder(config).parameters())
    assert config_from_hf(config_to_hf(config)) == config


def test_short_contexts_still_allow_2048_positions():
    config = ModelConfig.from_architecture(architecture("qwen2"), vocab_size=100, context_length=32)
    assert config.max_position_embeddings == 2048
    assert config.with_context(32).max_position_embeddings == 2048
    assert config.with_context(5000).max_position_embeddings == 5000


@pytest.mark.parametrize("hub_id", ["Qwen/Qwen2.5-0.5B", "Qwen/Qwen3-0.6B-Base", "meta-llama/Llama-3.2-1B"])
def test_known_shape_of_base_and_tuned_models(hub_id: str):
    tuned = f"{hub_id}-Instruct" if not hub_id.endswith("-Base") else hub_id.removesuffix("-Base")
    assert known_shape(hub_id) == known_shape(tuned) == KNOWN_SHAPES[hub_id]
    assert known_shape("nobody/unknown") is None

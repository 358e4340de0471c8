"""Reward models: the policy's architecture with a scalar head. On disk a Hugging Face *ForSequenceClassification.

Shapes: T tokens, D model width, N documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from r1kit.errors import UserError
from r1kit.files import read_json
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.model.generic.shape import GenericConfig
from r1kit.model.hf import load_weights
from r1kit.model.hf_config import read_config
from r1kit.model.policy import SETTINGS, Policy, RewardModel
from r1kit.model.weights import stored_tensors


class NativeRewardModel(RewardModel, Decoder):
    """A reward model on the decoder."""

    def __init__(self, config: ModelConfig, settings: Mapping[str, Any]) -> None:
        super().__init__(replace(config, tie_word_embeddings=True))
        self.score = nn.Linear(config.hidden_size, 1, bias=False)
        self.settings = dict(settings)

    def hugging_face_keys(self) -> dict[str, object]:
        """See `RewardModel.hugging_face_keys`."""
        return {"architectures": [self.config.family.sequence_classification_class], **super().hugging_face_keys()}


def reward_model_from(policy: Policy, settings: Mapping[str, Any]) -> RewardModel:
    """Return a reward model with the policy's weights and a zero head: every initial score is 0.

    Raises:
        UserError: transformers has no class for reward models of this architecture.
    """
    if not isinstance(policy, Decoder):
        from r1kit.model.generic.reward import generic_reward_model  # imports transformers

        return generic_reward_model(policy, settings)
    with torch.device("meta"):
        model = NativeRewardModel(policy.config, settings)
    weights = {name: weight for name, weight in policy.state_dict().items() if not name.startswith("head.")}
    weights["score.weight"] = torch.zeros(1, policy.config.hidden_size, device=policy.embed.weight.device)
    model.load_state_dict(weights, assign=True)
    model.recompute, model.fp32_head = policy.recompute, policy.fp32_head
    return model.to(policy.embed.weight.device)


def load_reward_model(directory: Path, dtype: torch.dtype, device: torch.device | str) -> RewardModel:
    """Load the model that a preference stage published; UserError when `directory` holds another kind of model."""
    settings = read_json(directory / "config.json").get(SETTINGS)
    if settings is None:
        raise UserError(
            f"{directory}: not a reward model (config.json lacks {SETTINGS}): train one in a preference stage"
        )
    config = read_config(directory)
    if isinstance(config, GenericConfig):
        from r1kit.model.generic.reward import load_generic_reward_model  # imports transformers

        return load_generic_reward_model(directory, config, settings, dtype, device)
    with torch.device("meta"):
        model = NativeRewardModel(config, settings)
    return load_weights(model, stored_tensors(directory), directory, dtype, device)

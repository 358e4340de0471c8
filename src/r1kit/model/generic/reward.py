"""Reward models of any architecture: a *ForSequenceClassification of transformers with one label."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from r1kit.errors import UserError
from r1kit.model.generic.checkpoint import read_weights
from r1kit.model.generic.decoder import GenericDecoder
from r1kit.model.generic.shape import GenericConfig
from r1kit.model.policy import Policy, RewardModel


class GenericRewardModel(RewardModel, GenericDecoder):
    """A reward model on a model of transformers."""

    def __init__(self, lm: PreTrainedModel, config: GenericConfig, settings: Mapping[str, Any]) -> None:
        if not isinstance(getattr(lm, "score", None), nn.Linear):
            raise UserError(f"{type(lm).__name__} has no linear layer `score`: use a reward model of another family")
        super().__init__(lm, config)
        self.settings = dict(settings)

    @property
    def score(self) -> nn.Module:  # type: ignore[override]  # part of the model of transformers
        """The scalar head."""
        head: nn.Module = self.lm.score
        return head

    @property
    def adapted_layers(self) -> tuple[str, ...]:
        """See `Policy.adapted_layers`."""
        return tuple(name for name in super().adapted_layers if name != "score")


def generic_reward_model(policy: Policy, settings: Mapping[str, Any]) -> GenericRewardModel:
    """See `reward_model.reward_model_from`."""
    assert isinstance(policy, GenericDecoder)
    config = copy.deepcopy(policy.lm.config)
    config.id2label, config.label2id = {0: "score"}, {"score": 0}
    try:
        kind: Any = AutoModelForSequenceClassification
        lm = kind.from_config(config, dtype=policy.lm.dtype)
    except ValueError as error:
        raise UserError(
            f"{type(policy.lm).__name__}: transformers has no class for reward models of this architecture: train the "
            "reward model on another family"
        ) from error
    model = GenericRewardModel(lm, policy.config, settings).to(policy.device)
    model.body.load_state_dict(policy.body.state_dict())
    nn.init.zeros_(model.lm.score.weight)
    model.recompute, model.fp32_head = policy.recompute, policy.fp32_head
    return model


def load_generic_reward_model(
    directory: Path, config: GenericConfig, settings: Mapping[str, Any], dtype: torch.dtype, device: torch.device | str
) -> GenericRewardModel:
    """See `reward_model.load_reward_model`."""
    lm = read_weights(AutoModelForSequenceClassification, directory, dtype, device)
    return GenericRewardModel(lm, config, settings)

"""Reward models: the policy's architecture with a scalar head. On disk a Hugging Face *ForSequenceClassification.

Shapes: T tokens, D model width, N documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from r1kit.errors import UserError
from r1kit.files import read_json
from r1kit.model.config import ModelConfig
from r1kit.model.decoder import Decoder
from r1kit.model.hf import load_weights
from r1kit.model.hf_config import read_config
from r1kit.model.layers import project
from r1kit.model.weights import stored_tensors

SETTINGS = "r1kit_reward"  # the key of config.json that holds the template and the part of a response that is scored


class RewardModel(Decoder):
    """A decoder with a scalar head instead of an output matrix. A document's score is read at its last token.

    transformers reads the score at the last token that is not padding. Documents therefore end in their own last
    token and not in an end-of-text token, which may also be the padding token.
    """

    def __init__(self, config: ModelConfig, settings: Mapping[str, Any]) -> None:
        super().__init__(replace(config, tie_word_embeddings=True))
        self.score = nn.Linear(config.hidden_size, 1, bias=False)
        self.settings = dict(settings)  # JSON values; see stages.preference

    def scores(self, hidden_TD: Tensor, last_N: Tensor) -> Tensor:
        """Return scores [N] in fp32, given a row's hidden states and the position of every document's last token."""
        return project(hidden_TD[last_N], self.score.weight, self.fp32_head).squeeze(-1).float()

    def hugging_face_keys(self) -> dict[str, object]:
        """Return the keys of config.json beyond the model's shape."""
        labels = {"id2label": {"0": "score"}, "label2id": {"score": 0}}  # one label: transformers' num_labels
        architecture = self.config.family.sequence_classification_class
        return {"architectures": [architecture], **labels, SETTINGS: self.settings}


def reward_model_from(policy: Decoder, settings: Mapping[str, Any]) -> RewardModel:
    """Return a reward model with the policy's weights and a zero head: every initial score is 0."""
    with torch.device("meta"):
        model = RewardModel(policy.config, settings)
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
    with torch.device("meta"):
        model = RewardModel(read_config(directory), settings)
    return load_weights(model, stored_tensors(directory), directory, dtype, device)

"""The policy's architecture with a scalar head: a reward model, on disk a Hugging Face *ForSequenceClassification.

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
from r1kit.model.hf_config import ARCHITECTURES, read_config
from r1kit.model.weights import stored_tensors

SETTINGS = "r1kit_reward"  # the key of config.json that says how the model is to be asked


class RewardModel(Decoder):
    """A decoder whose last token is worth a number. No matrix leads back to the vocabulary.

    transformers reads the score at the last token that is not padding. Answers therefore end in their own last token:
    an end-of-text token may be the padding token too.
    """

    def __init__(self, config: ModelConfig, settings: Mapping[str, Any]):
        super().__init__(replace(config, tie_word_embeddings=True))
        self.score = nn.Linear(config.hidden_size, 1, bias=False)
        self.settings = dict(settings)  # JSON values; see stages.preference

    def scores(self, hidden_TD: Tensor, last_N: Tensor) -> Tensor:
        """[N] from a row's hidden states and the position of every document's last token, fp32."""
        return self.score(hidden_TD[last_N]).squeeze(-1).float()

    def hugging_face_keys(self) -> dict[str, object]:
        architecture = ARCHITECTURES[self.config.model_type].replace("CausalLM", "SequenceClassification")
        labels = {"id2label": {"0": "score"}, "label2id": {"score": 0}}  # one label: transformers' num_labels
        return {"architectures": [architecture], **labels, SETTINGS: self.settings}


def reward_model_from(policy: Decoder, settings: Mapping[str, Any]) -> RewardModel:
    """The policy's weights under a new head of zeros: every answer starts at score 0."""
    with torch.device("meta"):
        model = RewardModel(policy.config, settings)
    weights = {name: weight for name, weight in policy.state_dict().items() if not name.startswith("head.")}
    weights["score.weight"] = torch.zeros(1, policy.config.hidden_size, device=policy.embed.weight.device)
    model.load_state_dict(weights, assign=True)
    model.recompute = policy.recompute
    return model.to(policy.embed.weight.device)


def load_reward_model(directory: Path, dtype: torch.dtype, device: torch.device | str) -> RewardModel:
    """A reward model that a preference stage made; UserError when `directory` holds something else."""
    settings = read_json(directory / "config.json").get(SETTINGS)
    if settings is None:
        raise UserError(f"{directory}: no reward model (config.json lacks {SETTINGS}); a preference stage makes one")
    with torch.device("meta"):
        model = RewardModel(read_config(directory), settings)
    return load_weights(model, stored_tensors(directory), directory, dtype, device)

"""Every key of a recipe, as frozen pydantic models. Defaults are the paper's where it gives values."""

from r1kit.config.base import (
    Episodes,
    Location,
    Optimizer,
    Prompting,
    PromptSource,
    Sampling,
    Scoring,
    Service,
    Strict,
    Template,
)
from r1kit.config.critic import Critic
from r1kit.config.curate import Curate
from r1kit.config.evaluate import Evaluate, Protocol
from r1kit.config.preference import Preference
from r1kit.config.pretrain import Architecture, Pretrain
from r1kit.config.recipe import STAGE_KINDS, Recipe
from r1kit.config.rl import RL, GeneralPrompts, Objective
from r1kit.config.sft import SFT
from r1kit.config.stage import Amount, MemoryUse, StageConfig
from r1kit.config.supervised import Supervised
from r1kit.config.training import Adapters, Published, Training

__all__ = [
    "RL",
    "SFT",
    "STAGE_KINDS",
    "Adapters",
    "Amount",
    "Architecture",
    "Critic",
    "Curate",
    "Episodes",
    "Evaluate",
    "GeneralPrompts",
    "Location",
    "MemoryUse",
    "Objective",
    "Optimizer",
    "Preference",
    "Pretrain",
    "PromptSource",
    "Prompting",
    "Protocol",
    "Published",
    "Recipe",
    "Sampling",
    "Scoring",
    "Service",
    "StageConfig",
    "Strict",
    "Supervised",
    "Template",
    "Training",
]

"""Find out before anything runs whether models can be told of the tools that an environment offers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from r1kit.config import RL, Episodes, Evaluate, Location, Prompting, Recipe, StageConfig, Supervised, Template
from r1kit.errors import UserError
from r1kit.model.reference import cached_model, local_model
from r1kit.recipe.errors import Mistake, quote

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def templates_of(stage: StageConfig) -> Iterator[tuple[Location, Template]]:
    """Yield the templates of the prompts that a stage samples from, with their key paths."""
    from r1kit.evals.named.sources import task_of
    from r1kit.evals.task import measured_as

    if isinstance(stage, Evaluate):
        for sources in stage.benchmarks.values():
            yield ("template",), measured_as(stage, task_of(sources[0])).template
    elif isinstance(stage, Prompting):
        yield ("template",), stage.template
    if isinstance(stage, RL) and stage.benchmarks and stage.eval_protocol is not None:
        yield ("eval_protocol", "template"), stage.eval_protocol.template


def unknown_call_styles(recipe: Recipe, stages: Collection[str]) -> list[Mistake]:
    """Return the environments of these stages whose tools the chat template of the stage's model cannot show.

    Loads the tokenizers of local models only: for other models it turns out when the stage begins.
    """
    from r1kit.environments.named import environment_named
    from r1kit.environments.tools import set_call_style

    mistakes: list[Mistake] = []
    for name, stage in recipe.stage.items():
        if name not in stages or not isinstance(stage, Episodes) or stage.environment is None:
            continue
        environment = environment_named(stage.environment, recipe.folder)
        if not getattr(environment, "tools", ()):
            continue
        try:
            if (tokenizer := _tokenizer_in(recipe, name)) is not None:
                set_call_style(environment, tokenizer)
        except UserError as error:
            mistakes.append(Mistake(("stage", name, "environment"), str(error), quote(stage.environment)))
    return mistakes


def _tokenizer_in(recipe: Recipe, name: str) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer with which a stage trains or samples; None if it does not exist here yet."""
    from r1kit.data.template import set_template
    from r1kit.model.hf import load_tokenizer

    stage = recipe.stage[name]
    if stage.model is None:  # a pretrain stage makes a new one
        return None
    if stage.model in recipe.stage:
        tokenizer = _tokenizer_in(recipe, stage.model)
    else:
        directory = local_model(stage.model) or cached_model(stage.model)
        tokenizer = None if directory is None else load_tokenizer(directory)
    if tokenizer is not None and isinstance(stage, RL | Supervised):
        set_template(tokenizer, stage.template)
    return tokenizer

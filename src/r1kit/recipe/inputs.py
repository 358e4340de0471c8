"""Find out before anything runs whether the models and data that a recipe names are there and can be used.

Looks at config.json and the names of files only. Repositories that are not in the Hugging Face cache are looked up on
the hub, once each.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from r1kit import hub
from r1kit.config import RL, Evaluate, Location, PromptSource, Recipe
from r1kit.console import heartbeat
from r1kit.data.store import READERS, data_suffix, file_problem
from r1kit.engine.factory import missing_engine
from r1kit.errors import UserError
from r1kit.model.hf_config import read_config
from r1kit.model.reference import cached_model, checkpoint_problem, local_model, unavailable_model
from r1kit.recipe.errors import Mistake

Repository = tuple[str, hub.Kind]
PACKAGES = {
    "datasets": "hub",
    "reasoning_gym": "reasoning-gym",
    "verifiers": "verifiers",
}  # module -> extra of r1kit that installs it


def unusable_inputs(recipe: Recipe, stages: Collection[str]) -> list[Mistake]:
    """Return what these stages of a recipe name and cannot read, with the first key that names it."""
    inputs = _Inputs(recipe)
    if missing := missing_engine(recipe.engine):
        inputs.texts[missing] = ("engine",)
    measured = any(recipe.held_out(stage) for name, stage in recipe.stage.items() if name in stages)
    for name, stage in recipe.stage.items():
        if name in stages:
            inputs.add_stage(name)
        elif measured and isinstance(stage, Evaluate):
            inputs.add_prompts(name)
    return inputs.mistakes()


@dataclass(slots=True)
class _Inputs:
    """The models and data of some stages."""

    recipe: Recipe
    texts: dict[str, Location] = field(default_factory=dict)
    """Message -> the first key that it is about."""
    repositories: dict[Repository, tuple[Location, str]] = field(default_factory=dict)
    """What must be downloaded -> the first key that names it, and the name there."""

    def add_stage(self, name: str) -> None:
        """Look at the model and the data of a stage, as far as no earlier stage makes them."""
        stage = self.recipe.stage[name]
        models: dict[Location, str | None] = {("model",): stage.model}
        if isinstance(stage, RL) and stage.critic is not None:
            models["critic", "model"] = stage.critic.model
        for at, model in models.items():
            if model is not None and model not in self.recipe.stage:
                self._add_model(("stage", name, *at), model)
        for i, source in enumerate(stage.data_read()):
            if source not in self.recipe.stage:
                self._add_data(("stage", name, "data", i), source)
        self.add_prompts(name)

    def add_prompts(self, name: str) -> None:
        """Look at the prompt sources of a stage."""
        for at, prompts in self.recipe.stage[name].sources():
            self._add_prompts(("stage", name, *at), prompts)

    def _add_model(self, at: Location, reference: str) -> None:
        try:
            directory = local_model(reference) or cached_model(reference)
        except UserError as error:
            self.texts.setdefault(str(error), at)
            return
        if directory is None:
            self.repositories.setdefault((reference, "model"), (at, reference))
        elif (problem := checkpoint_problem(directory)) is not None:
            self.texts.setdefault(problem, at)

    def _add_prompts(self, at: Location, source: PromptSource) -> None:
        """Look at a prompt source: the data of a benchmark by name lies in several places."""
        from r1kit.evals.named.sources import data_problem, local_data, task_of

        if (task := task_of(source)) is None:
            self._add_data(at, source.source)
        elif (problem := data_problem(task, source)) is not None:
            self.texts.setdefault(problem, at)
        elif task.source and local_data(source) is None:
            self._add_data(at, task.source)

    def _add_data(self, at: Location, source: str) -> None:
        prefix = source.partition(":")[0]
        path = Path(source).expanduser()
        if prefix == "world":
            return
        if prefix in ("reasoning_gym", "verifiers"):
            self._require(at, source, prefix)
        elif data_suffix(path) in READERS or path.exists() or source[:1] in ("/", ".", "~"):
            problem = file_problem(path) or (None if path.stat().st_size else "the file is empty")
            if problem is not None:
                self.texts.setdefault(f"{source}: {problem}", at)
        elif self._require(at, source, "datasets") and not hub.is_cached_dataset(prefix):
            self.repositories.setdefault((prefix, "dataset"), (at, source))

    def _require(self, at: Location, source: str, package: str) -> bool:
        if find_spec(package) is not None:
            return True
        self.texts.setdefault(f"{source}: needs {package}: pip install 'r1kit[{PACKAGES[package]}]'", at)
        return False

    def mistakes(self) -> list[Mistake]:
        """Ask the hub for what is not here, and return all mistakes."""
        with heartbeat("asking the hub for models and data"):
            reasons = hub.unavailable(self.repositories)
        for repository, (at, source) in self.repositories.items():
            name, kind = repository
            if repository in reasons:
                reason = reasons[repository]
                text = unavailable_model(source, reason) if kind == "model" else f"{source}: no local file; {reason}"
                self.texts.setdefault(text, at)
            elif kind == "model" and (unsupported := _unsupported(name)) is not None:
                self.texts.setdefault(unsupported, at)
        return [Mistake(at, text) for text, at in self.texts.items()]


def _unsupported(reference: str) -> str | None:
    """Return why r1kit cannot compute a model whose config.json has just been downloaded, or None."""
    directory = hub.cached_model(reference)
    if directory is None:
        return f"{reference}: the repository has no config.json"
    try:
        read_config(directory)
    except UserError as error:
        return f"{reference}: {error}"
    return None

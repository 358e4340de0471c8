"""Checks between keys and stages, and against what r1kit has: models, worlds, rewards, watchdogs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1kit import errors
from r1kit.config import (
    RL,
    Architecture,
    Episodes,
    Location,
    Optimizer,
    Pretrain,
    PromptSource,
    Published,
    Recipe,
    StageConfig,
)
from r1kit.hub import is_hub_id
from r1kit.metrics.watchdogs import WATCHDOGS
from r1kit.model.families import FAMILIES
from r1kit.model.reference import bundled_models, local_model
from r1kit.recipe.environments import templates_of
from r1kit.recipe.errors import Mistake, quote, unknown

MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-9, 1.0  # outside, nothing is learned or the first update breaks the model


def cross_checks(recipe: Recipe) -> list[Mistake]:
    """Return the mistakes that no single key shows."""
    mistakes: list[Mistake] = []
    earlier: dict[str, StageConfig] = {}
    for name, stage in recipe.stage.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            text = "the name of a stage is also its directory: use lower-case letters, digits, - and _"
            mistakes.append(Mistake(("stage", name), text))
        check = _Check(("stage", name), stage, earlier, list(recipe.stage), recipe.folder, recipe.engine)
        mistakes += [
            *check.model(),
            *check.data(),
            *check.rewards(),
            *check.environment(),
            *check.learning_rate(),
            *check.corpus(),
            *check.watchdogs(),
            *check.best_metric(),
            *check.sources(),
        ]
        earlier[name] = stage
    return mistakes


@dataclass(frozen=True, slots=True)
class _Check:
    """The checks of one stage."""

    at: Location
    stage: StageConfig
    earlier: Mapping[str, StageConfig]
    names: list[str]  # of all stages
    folder: Path | None  # of the recipe
    engine: str | list[str]

    def model(self) -> Iterable[Mistake]:
        """Check that `model` and the critic's exist, and that r1kit can build a new one."""
        if isinstance(self.stage, Pretrain) and self.stage.architecture is not None:
            given = self.stage.architecture.model_type
            at = (*self.at, "architecture")
            if given not in FAMILIES:
                yield Mistake((*at, "model_type"), unknown("value", given, FAMILIES), quote(given))
            elif (text := _shape_mistake(self.stage.architecture)) is not None:
                yield Mistake(at, text)
        models: list[tuple[Location, str | None, str]] = [(("model",), self.stage.model, "model")]
        if isinstance(self.stage, RL) and self.stage.critic is not None:
            models.append((("critic", "model"), self.stage.critic.model, "reward model"))
        for key, reference, needed in models:
            if reference is not None and (text := self._model_mistake(reference, needed)) is not None:
                yield Mistake((*self.at, *key), text, quote(reference))

    def _model_mistake(self, reference: str, needed: str) -> str | None:
        if reference in self.earlier:
            return self._output_mistake(reference, needed)
        if reference in self.names:
            return f"stage {reference} does not come earlier; stages run as written (a directory is ./{reference})"
        try:
            if local_model(reference) is not None or is_hub_id(reference):
                return None
        except errors.UserError as error:
            return str(error)
        known = [name for name, stage in self.earlier.items() if stage.output == needed]
        known += bundled_models() if needed == "model" else []
        return unknown(f"{needed} (not an earlier stage, directory or hub id org/name)", reference, known)

    def _output_mistake(self, name: str, needed: str) -> str | None:
        stage = self.earlier[name]
        if stage.output == needed:
            return None
        makes, expected = _with_article(stage.output), _with_article(needed)
        return f"{name} is a stage of kind {stage.kind}, which makes {makes}, not {expected}"

    def data(self) -> Iterable[Mistake]:
        """Check that every source of records exists."""
        for i, source in enumerate(self.stage.data_read()):
            if (text := self._data_mistake(source)) is not None:
                yield Mistake((*self.at, "data", i), text, quote(source))

    def _data_mistake(self, source: str) -> str | None:
        from r1kit.data.store import FORMATS, READERS, data_suffix
        from r1kit.data.worlds import RECORD_WORLDS

        prefix, _, world = source.partition(":")
        if prefix == "world":
            return None if world in RECORD_WORLDS else unknown("world of records", world, RECORD_WORLDS)
        if source in self.earlier:
            return self._output_mistake(source, "data")
        if source in self.names:
            return f"stage {source} does not come earlier; stages run as written"
        if data_suffix(Path(source)) in READERS or is_hub_id(prefix):
            return None
        known = [name for name, stage in self.earlier.items() if stage.output == "data"]
        kinds = f"not an earlier stage, file ({FORMATS}) or dataset org/name"
        return unknown(f"source ({kinds})", source, known)

    def rewards(self) -> Iterable[Mistake]:
        """Check that every reward exists and that reward models grade general prompts only."""
        from r1kit.rewards.score import check_reward_names

        for at, rewards in self.stage.reward_tables():
            if not any(weight > 0 for weight in rewards.values()):
                text = "must have at least one reward with a positive weight, such as { accuracy = 1.0, format = 1.0 }"
                yield Mistake((*self.at, *at), text, quote(rewards))
            models = {n for n in rewards if n in self.earlier and self.earlier[n].output == "reward model"}
            if models and at == ("rewards",):
                text = f"{', '.join(sorted(models))}: a reward model can only grade prompts under general (paper eq. 9)"
                yield Mistake((*self.at, *at), text)
            try:
                check_reward_names({n: weight for n, weight in rewards.items() if n not in models}, self.folder)
            except ValueError as error:
                yield Mistake((*self.at, *at), str(error))

    def environment(self) -> Iterable[Mistake]:
        """Check that the environment exists and can be used, and that there is one for the reward of that name."""
        from r1kit.environments.named import ENGINE, environment_named

        given = self.stage.environment if isinstance(self.stage, Episodes) else None
        for at, source in self.stage.sources():
            is_sampled = self.stage.kind != "curate" or at[0] != "benchmarks"
            if source.source.startswith("verifiers:") and source.source != given and is_sampled:
                text = f"only that environment can score it: set environment = {quote(source.source)} in this stage"
                yield Mistake((*self.at, *at), text, quote(source.source))
        if not isinstance(self.stage, Episodes):
            return
        if self.stage.environment is None:
            for at, rewards in self.stage.reward_tables():
                if "environment" in rewards:
                    yield Mistake((*self.at, *at), "the reward environment needs the key environment")
            return
        try:
            environment = environment_named(self.stage.environment, self.folder)
            if not isinstance(self.engine, str):
                raise errors.UserError(ENGINE)
        except errors.UserError as error:
            yield Mistake((*self.at, "environment"), str(error), quote(self.stage.environment))
            return
        for at, template in templates_of(self.stage) if hasattr(environment, "tools") else ():
            if template != "chat":
                text = f'the environment {self.stage.environment} needs template = "chat", which shows conversations'
                yield Mistake((*self.at, *at), f"{text} and tools", quote(template))

    def learning_rate(self) -> Iterable[Mistake]:
        """Check that the learning rates of policy and critic are such that can train."""
        optimizers = {(): self.stage, ("critic",): self.stage.critic if isinstance(self.stage, RL) else None}
        for at, optimizer in optimizers.items():
            rate = optimizer.learning_rate if isinstance(optimizer, Optimizer) else MAX_LEARNING_RATE
            if not MIN_LEARNING_RATE <= rate <= MAX_LEARNING_RATE:
                text = f"must be between {MIN_LEARNING_RATE:g} and {MAX_LEARNING_RATE:g}; the paper's are 2e-6 to 1e-4"
                yield Mistake((*self.at, *at, "learning_rate"), text, quote(rate))

    def corpus(self) -> Iterable[Mistake]:
        """Check that the corpus of a pretrain stage exists."""
        from r1kit.data.worlds.corpus import CORPORA

        if isinstance(self.stage, Pretrain) and self.stage.corpus not in CORPORA:
            yield Mistake((*self.at, "corpus"), unknown("corpus", self.stage.corpus, CORPORA), quote(self.stage.corpus))

    def watchdogs(self) -> Iterable[Mistake]:
        """Check the names of watchdogs."""
        given = self.stage.watchdogs if isinstance(self.stage, RL) else {}
        for name in given:
            if name not in WATCHDOGS:
                yield Mistake((*self.at, "watchdogs", name), unknown("watchdog", name, WATCHDOGS))

    def best_metric(self) -> Iterable[Mistake]:
        """Check that evaluations measure the metric by which a model is chosen."""
        if not isinstance(self.stage, Published) or (given := self.stage.best_metric) is None:
            return
        measured, needs = self.stage.evaluated_metrics(), "held_out"
        if isinstance(self.stage, RL):
            needs = f"benchmarks, and eval_every of 1 to {self.stage.steps} (steps)"
        text = unknown("metric", given, measured) if measured else f"this stage evaluates nothing: set {needs}"
        if given not in measured:
            yield Mistake((*self.at, "best_metric"), text, quote(given))

    def sources(self) -> Iterable[Mistake]:
        """Check the worlds and the benchmarks among the prompt sources."""
        for at, source in self.stage.sources():
            yield from _world_mistakes((*self.at, *at), source)
            yield from _bench_mistakes((*self.at, *at), source, at[0] == "benchmarks")


def _shape_mistake(architecture: Architecture) -> str | None:
    """Return why no decoder has this shape, or None."""
    from r1kit.model.config import ModelConfig
    from r1kit.model.hf_config import config_to_hf

    width, heads = architecture.hidden_size, architecture.num_attention_heads
    if width < heads:
        return f"hidden_size = {width}: must be at least num_attention_heads = {heads}"
    try:
        config_to_hf(ModelConfig.from_architecture(architecture, vocab_size=1, context_length=1))
    except errors.UserError as error:
        return str(error)
    return None


def _world_mistakes(at: Location, source: PromptSource) -> Iterable[Mistake]:
    from r1kit.data.worlds import DEFAULT_LIMIT, LEVELS_OF, WORLDS

    prefix, _, world = source.source.partition(":")
    levels: Sequence[int] = range(source.min_level, source.max_level + 1)
    if prefix == "world":
        levels = LEVELS_OF.get(world, levels)
    if not any(source.min_level <= level <= source.max_level for level in levels):
        known = f"; the levels of world:{world} are {levels[0]} to {levels[-1]}" if levels else ""
        yield Mistake(
            at, f"no level is between min_level = {source.min_level} and max_level = {source.max_level}{known}"
        )
    if prefix == "world" and world not in WORLDS:
        yield Mistake(at, unknown("world", world, WORLDS), quote(source.source))
    elif prefix == "world" and source.split not in DEFAULT_LIMIT:
        yield Mistake((*at, "split"), unknown("split of a world", source.split, DEFAULT_LIMIT), quote(source.split))


def _bench_mistakes(at: Location, source: PromptSource, measures: bool) -> Iterable[Mistake]:
    from r1kit.evals.named.sources import task_of

    try:
        task = task_of(source)
    except errors.UserError as error:
        yield Mistake(at, str(error), quote(source.source))
        return
    if task is not None and not measures:
        yield Mistake(at, "a benchmark is no source of prompts: name it under benchmarks", quote(source.source))


def _with_article(output: str) -> str:
    return f"a {output}" if output.endswith("model") else output

"""Resolve a recipe to stages with identities, before anything runs.

A stage's identity is the hash of its kind, resolved config, seed, dtype, parents' identities, this package's version,
and its amendments: at which steps, and the identity before each. Among parents are models, files and the code of
worlds. What else may change the bits (other libraries, another machine) is recorded in lineage.json.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import r1kit
from r1kit import hashing
from r1kit.config import Pretrain, PromptSource, Recipe, StageConfig
from r1kit.config.stage import benchmark_sources
from r1kit.data.worlds.identity import CORPUS, generated_identity
from r1kit.errors import UserError
from r1kit.hashing import canonical_json, derive_seed
from r1kit.model.reference import local_model
from r1kit.run.records import Amendment, StageInputs

HELD_OUT = "benchmarks of evaluate stages"  # among parents
# Watchdogs decide whether a stage continues, but not its result. What several processes share out does not either.
UNRELATED_KEYS = ("watchdogs", "shard_weights")
# Keys that came later and change nothing at their default. At it, they are not part of the identity, so that stages of
# older runs stay finished.
ADDED_KEYS = ("rollouts_ahead", "best_metric", "environment", "critic", "gae_lambda")


@dataclass(frozen=True, slots=True)
class ResolvedStage:
    """A stage with everything that determines its result."""

    name: str
    config: StageConfig
    seed: int
    dtype: str
    parents: Mapping[str, str]  # what the stage reads -> identity
    identity: str
    held_out: Mapping[str, list[PromptSource]]  # see `Recipe.held_out`
    amendments: Sequence[Amendment] = ()

    def inputs(self) -> StageInputs:
        """Return what lineage.json and artifact.json record of it."""
        return {
            "kind": self.config.kind,
            "identity": self.identity,
            "parents": dict(self.parents),
            "seed": self.seed,
            "dtype": self.dtype,
            "r1kit": r1kit.__version__,
            "config": self.config.model_dump(mode="json"),
            "amendments": [*self.amendments],
        }


def resolve_stages(
    recipe: Recipe, dtype: str, amendments: Mapping[str, Sequence[Amendment]] | None = None
) -> list[ResolvedStage]:
    """Return all stages in order. Reads local models and data to fingerprint them.

    `amendments` maps stages to the changes that led to the settings in the recipe.
    """
    stages: dict[str, ResolvedStage] = {}
    for name, config in recipe.stage.items():
        seed = config.seed if config.seed is not None else derive_seed(recipe.seed, name)
        held_out = recipe.held_out(config)
        parents = _parents(recipe, config, held_out, stages)
        left_out = {*UNRELATED_KEYS, *additions_at_default(config)}
        settings = {**config.model_dump(mode="json", exclude=left_out), "seed": seed, "dtype": dtype}
        if history := (amendments or {}).get(name, ()):
            settings["amendments"] = [(amendment["step"], amendment["identity"]) for amendment in history]
        identity = hashing.identity(config.kind, settings, parents, r1kit.__version__)
        stages[name] = ResolvedStage(name, config, seed, dtype, parents, identity, held_out, history)
    return list(stages.values())


def additions_at_default(config: StageConfig) -> set[str]:
    """Return the ADDED_KEYS of a stage that have their default."""
    fields = type(config).model_fields
    return {key for key in ADDED_KEYS if key in fields and getattr(config, key) == fields[key].default}


def _parents(
    recipe: Recipe,
    config: StageConfig,
    held_out: Mapping[str, list[PromptSource]],
    earlier: Mapping[str, ResolvedStage],
) -> dict[str, str]:
    parents: dict[str, str] = {}
    for model in config.models_read(earlier):
        directory = None if model in earlier else local_model(model)
        parents[model] = _identity_of(model, directory, earlier)
    for source in config.data_read():
        parents[source] = _identity_of(source, Path(source).expanduser(), earlier)
    if held_out:
        sources = {name: [source.model_dump() for source in group] for name, group in held_out.items()}
        parents[HELD_OUT] = canonical_json(sources).decode()
    prompts = [source.source for _, source in [*config.sources(), *benchmark_sources(held_out)]]
    for name in prompts:
        if (path := Path(name).expanduser()).exists():
            parents[name] = hashing.fingerprint(path)
    generated = [*config.data_read(), *prompts, *([CORPUS + config.corpus] if isinstance(config, Pretrain) else [])]
    parents |= {name: sha for name in generated if (sha := generated_identity(name)) is not None}
    if recipe.judge is not None and config.sources():  # it may grade any problem; its address does not matter
        parents[f"judge:{recipe.judge.model}"] = f"judge:{recipe.judge.model}"
    return parents


def _identity_of(reference: str, path: Path | None, earlier: Mapping[str, ResolvedStage]) -> str:
    """Return the identity of an earlier stage, of the files at a path, or else of a repository on the hub."""
    if reference in earlier:
        return earlier[reference].identity
    return hashing.fingerprint(path) if path is not None and path.exists() else f"hub:{reference}"


def require_stage(option: str, name: str, names: Collection[str]) -> None:
    """Raise UserError if a command-line option names a stage that the recipe does not have."""
    if name not in names:
        raise UserError(f"--{option} {name}: no such stage; stages: {', '.join(names)}")


def names_until(names: Sequence[str], until: str | None) -> Sequence[str]:
    """Return the names up to and including `until`; all if it is None."""
    return names if until is None else names[: names.index(until) + 1]

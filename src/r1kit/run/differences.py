"""Describe how a stage differs from the one that a run has started, in the words of the recipe."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from r1kit.config import PromptSource
from r1kit.run.records import StageInputs
from r1kit.run.resolve import HELD_OUT, UNRELATED_KEYS, ResolvedStage, additions_at_default

SHOWN = 80  # characters of a value
UNRELATED = (*UNRELATED_KEYS, "seed")  # seeds are described on their own
FACTS = ("kind", "seed", "dtype", "r1kit")  # of a stage, besides its config and what it reads
ABSENT = object()


def differences(
    stage: ResolvedStage, recorded: StageInputs, stages: Collection[str], seeds: tuple[int, int]
) -> list[str]:
    """Return one line for each difference; none if only the result of an earlier stage has changed.

    Args:
        stage: The stage as the recipe describes it now.
        recorded: What the run has recorded of it.
        stages: The names of all stages. A changed stage is described where it is defined.
        seeds: The seed of the recipe before and now.
    """
    new, at = stage.inputs(), f"stage.{stage.name}"
    if recorded["kind"] != new["kind"]:
        return [_line(f"{at}.kind", recorded["kind"], new["kind"])]
    lines = []
    if recorded["r1kit"] != new["r1kit"]:
        lines.append(f"r1kit: version {recorded['r1kit']} before, {new['r1kit']} now")
    if recorded["dtype"] != new["dtype"]:
        lines.append(_line("dtype", recorded["dtype"], new["dtype"]) + f': set dtype = "{recorded["dtype"]}"')
    config = [*_changed_keys(at, recorded["config"], _config(stage, recorded), stage.config.model_fields_set)]
    lines += [_line(*change) for change in config]
    if recorded["seed"] != new["seed"]:
        old_seed, new_seed = recorded["config"].get("seed"), stage.config.seed
        own = old_seed is not None or new_seed is not None
        lines.append(_line(f"{at}.seed", old_seed, new_seed) if own else _line("seed", *seeds))
    parents = {name: sha for name, sha in recorded["parents"].items() if name not in stages}
    return lines + _changed_files(parents, {k: v for k, v in new["parents"].items() if k not in stages}, bool(config))


def changed_values(stage: ResolvedStage, recorded: StageInputs) -> dict[str, tuple[Any, Any]]:
    """Map each key and input of a stage that differs to its values before and now; None if it is absent."""
    keys = _changed_keys("", recorded["config"], _config(stage, recorded), ())
    changed = {key.removeprefix("."): (_plain(before), _plain(now)) for key, before, now, _ in keys}
    new = stage.inputs()
    old_facts = {key: value for key, value in recorded.items() if key in FACTS} | recorded["parents"]
    new_facts = {key: value for key, value in new.items() if key in FACTS} | new["parents"]
    return changed | {
        key: (old_facts.get(key), new_facts.get(key))
        for key in {**old_facts, **new_facts}
        if old_facts.get(key) != new_facts.get(key)
    }


def _plain(value: object) -> object:
    return None if value is ABSENT else _as_written(value)


def _config(stage: ResolvedStage, recorded: StageInputs) -> dict[str, Any]:
    """Return the stage's config without keys at their default that the record is older than."""
    unknown = additions_at_default(stage.config) - recorded["config"].keys()
    return {key: value for key, value in stage.inputs()["config"].items() if key not in unknown}


def _changed_keys(
    at: str, old: Mapping[str, Any], new: Mapping[str, Any], written: Collection[str]
) -> Iterator[tuple[str, object, object, bool]]:
    """Yield each key that differs: (key, before, now, whether its default is back).

    `written` are the keys that the recipe sets.
    """
    for key in {**old, **new}:
        before, now = old.get(key, ABSENT), new.get(key, ABSENT)
        if before == now or key in UNRELATED:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping) and not (_is_schedule(before) or _is_schedule(now)):
            yield from _changed_keys(f"{at}.{key}", before, now, now.keys() if key in written else ())
        else:
            yield f"{at}.{key}", before, now, key not in written and now is not ABSENT


def _line(key: str, before: object, now: object, is_default: bool = False) -> str:
    if is_default:
        return f"{key}: {_show(before)} before, default {_show(now)} now: was --set forgotten?"
    return f"{key}: {_show(before)} before, {_show(now)} now"


def _show(value: object) -> str:
    if value is ABSENT or value is None:
        return "not set"
    if isinstance(value, Mapping) and _is_schedule(value):
        text = "{" + ", ".join(f"{step} = {item}" for step, item in value.items()) + "}"
        return text if len(value) > 1 else str(value["0"])
    text = json.dumps(_as_written(value), ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 4] + " ..."


def _is_schedule(value: Mapping[str, Any]) -> bool:
    """Return whether a value maps steps to values. Written as one number, it is {0 = NUMBER}."""
    return "0" in value and all(key.isdigit() for key in value)


def _as_written(value: object) -> object:
    """Return prompt sources without the keys that have their default; a plain string if only `source` is left."""
    if isinstance(value, Mapping):
        fields = PromptSource.model_fields
        if "source" in value and value.keys() <= fields.keys():
            rest = {key: item for key, item in value.items() if key == "source" or item != fields[key].default}
            return rest if len(rest) > 1 else value["source"]
        return {key: _as_written(item) for key, item in value.items()}
    return (
        [_as_written(item) for item in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
    )


def _judge(parents: Mapping[str, str]) -> str | None:
    return next((name.partition(":")[2] for name in parents if name.startswith("judge:")), None)


def _changed_files(old: Mapping[str, str], new: Mapping[str, str], is_renamed: bool) -> list[str]:
    """Return a line for each model, file or judge that differs. `is_renamed` says that the recipe names others."""
    before, now = _judge(old), _judge(new)
    lines = [] if before == now else [_line("judge.model", before, now)]
    was, is_now = (json.loads(side[HELD_OUT]) if HELD_OUT in side else None for side in (old, new))
    if was != is_now and not (is_renamed and None in (was, is_now)):  # other prompts may need none
        lines.append(_line(HELD_OUT, was, is_now))
    for name in {**old, **new}:
        if name.startswith("judge:") or name == HELD_OUT or old.get(name) == new.get(name):
            continue
        if name in old and name in new:
            lines.append(f"{name} has changed")
        elif not is_renamed:
            lines.append(f"{name} {'no longer exists' if name in old else 'did not exist before'}")
    return lines

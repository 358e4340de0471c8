"""The lineage of a run or a stage: its code, models and data, back to the external inputs; read from files."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1kit.console import duration
from r1kit.errors import UserError
from r1kit.files import read_json
from r1kit.run_dir import RunDir
from r1kit.synonyms import nearest

CODE = ("r1kit", "source", "commit", "python", "versions")
MACHINE = ("platform", "cpu", "threads", "device", "dtype")
RECORDED = ("identity", "seed", "r1kit", "dtype", "started", "finished", "seconds", "sandbox", "parents", "revisions",
            "amendments")  # fmt: skip
SHORT, SHOWN = 12, 60  # characters of a hash and of a value that are shown


def trace(run_dir: Path, stage: str | None = None) -> dict[str, Any]:
    """Return the lineage of a run, or of one stage and its ancestors, as plain values.

    The keys are "run", "recipe", "seed", "code", "machine", "changes", "stages" in the recipe's order, and "roots": the
    models, records and problems from outside the run. UserError if `run_dir` is not a run directory or lacks the stage.
    """
    paths = RunDir(run_dir)
    if not paths.recipe.is_file() or not paths.lineage.is_file():
        raise UserError(
            f"{run_dir} is not a run directory: it lacks recipe.toml or lineage.json. Pass a directory such as "
            "runs/sprout-zero"
        )
    configs = tomllib.loads(paths.recipe.read_text(encoding="utf-8"))["stage"]
    lineage = read_json(paths.lineage)
    if stage is not None and stage not in configs:
        close = nearest(stage, configs)
        hint = f"did you mean {close}? " if close else ""
        raise UserError(f"{stage}: no such stage in {run_dir}; {hint}The stages are {', '.join(configs)}")
    chosen = set(configs) if stage is None else ancestors(stage, configs)
    stages = [_stage(run_dir, name, configs, lineage["stages"].get(name, {})) for name in configs if name in chosen]
    about = {key: lineage.get(key) for key in ("recipe", "seed", "changes", "forked_from") if key in lineage}
    about |= {"code": {key: lineage.get(key) for key in CODE}, "machine": {key: lineage.get(key) for key in MACHINE}}
    return {"run": str(run_dir), **about, "stages": stages, "roots": _roots(stages, configs)}


def reads(config: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the inputs of a stage by use: model, data, rewards (reward models), prompts and benchmarks.

    Args:
        config: The stage's part of the resolved recipe.
        stages: All stages of the recipe, by name.
    """
    general = config.get("general") or []
    prompts = [*(config.get("prompts") or []), *(source for part in general for source in part["prompts"])]
    benchmarks = [source for group in (config.get("benchmarks") or {}).values() for source in group]
    inputs = {
        "model": [config["model"]] if config.get("model") else [],
        "data": list(config.get("data") or []),
        "rewards": [name for part in general for name in part["rewards"] if name in stages],
        "prompts": [_name(source) for source in prompts],
        "benchmarks": [_name(source) for source in benchmarks],
    }
    return {use: list(dict.fromkeys(names)) for use, names in inputs.items() if names}


def _name(source: str | Mapping[str, Any]) -> str:
    return source if isinstance(source, str) else str(source["source"])


def parent_stages(config: Mapping[str, Any], stages: Mapping[str, Any]) -> list[str]:
    """Return the stages of the run that a stage reads."""
    return list(dict.fromkeys(name for names in reads(config, stages).values() for name in names if name in stages))


def ancestors(stage: str, configs: Mapping[str, Any]) -> set[str]:
    """Return the stage and all stages that it depends on."""
    visited: set[str] = set()
    queue = [stage]
    while queue:
        if (name := queue.pop()) not in visited:
            visited.add(name)
            queue += parent_stages(configs[name], configs)
    return visited


def _stage(run_dir: Path, name: str, configs: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    paths = RunDir(run_dir).stage(name)
    artifact = read_json(paths.artifact) if paths.is_finished else {}
    state = "done" if artifact else "begun" if paths.path.is_dir() else "not started"
    known = {} if state == "not started" else {**record, **artifact}
    return {
        "name": name,
        "kind": configs[name]["kind"],
        "state": state,
        **{key: known[key] for key in RECORDED if key in known},
        "reads": reads(configs[name], configs),
        "outputs": artifact.get("outputs", {}),
    }


def _roots(stages: list[dict[str, Any]], configs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the inputs of these stages that come from outside the run, with their fingerprints if recorded."""
    roots: dict[str, dict[str, Any]] = {}
    for stage in stages:
        for use, names in stage["reads"].items():
            for name in (name for name in names if name not in configs):
                root = roots.setdefault(name, {"name": name, "use": use, "identity": None, "used_by": []})
                root["identity"] = root["identity"] or stage.get("parents", {}).get(name)
                root["used_by"] += [stage["name"]] * (stage["name"] not in root["used_by"])
                if revision := stage.get("revisions", {}).get(name):
                    root["revision"] = revision
    return list(roots.values())


# -- text ---------------------------------------------------------------------------------------------------------


def render(lineage: Mapping[str, Any]) -> str:
    """Format the result of `trace` as text."""
    lines = [f"{lineage['run']}: recipe {lineage['recipe']}, seed {lineage['seed']}", *_code(lineage), "", "roots"]
    for root in lineage["roots"]:
        by = root["used_by"]
        users = ", ".join(by[:4]) + (f" and {len(by) - 4} more" if len(by) > 4 else "")
        lines.append(f"  {root['name']}  {_origin(root)}  ({root['use']} of {users})")
    for stage in lineage["stages"]:
        lines += ["", *_stage_lines(stage)]
    return "\n".join(lines)


def _origin(root: Mapping[str, Any]) -> str:
    if root["name"].startswith("world:"):
        is_known = root["identity"] and not root["identity"].startswith("hub:")  # older runs do not know the code
        return f"generated by r1kit, code {root['identity'][:SHORT]}" if is_known else "generated by r1kit"
    if "revision" in root:
        return f"revision {root['revision'][:SHORT]}"
    if root["identity"] is None:
        return "no fingerprint recorded"
    return root["identity"] if root["identity"].startswith("hub:") else f"sha256 {root['identity'][:SHORT]}"


def _code(lineage: Mapping[str, Any]) -> list[str]:
    code, machine = lineage["code"], lineage["machine"]
    commit = f", commit {code['commit'][:SHORT]}" if code["commit"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in (code["versions"] or {}).items() if version)
    lines = [
        f"code     r1kit {code['r1kit']}, source {code['source']}{commit}; python {code['python']}, {versions}",
        f"machine  {machine['cpu']}, {machine['threads']} threads, {machine['device']} {machine['dtype']}; "
        f"{machine['platform']}",
    ]
    lines += [f"forked   from {lineage['forked_from']}"] if "forked_from" in lineage else []
    for change in lineage.get("changes", []):
        keys = "; ".join(f"{key}: from {old} to {new}" for key, (old, new) in change["changed"].items())
        lines.append(f"changed  {change['at']}: {keys}")
    return lines


def describe_amendment(amendment: Mapping[str, Any]) -> str:
    """Return the step of an amendment and its changes as text."""
    changes = (f"{key} from {_show(old)} to {_show(new)}" for key, (old, new) in amendment["changed"].items())
    return f"after step {amendment['step']}: {'; '.join(changes)}"


def _show(value: object) -> str:
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:SHORT]
    text = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def _stage_lines(stage: Mapping[str, Any]) -> list[str]:
    lines = [f"{stage['name']} ({stage['kind']}), {stage['state']}"]
    if "identity" in stage:
        lines.append(f"  identity   {stage['identity'][:SHORT]}, seed {stage['seed']}, r1kit {stage['r1kit']}")
    for use, names in stage["reads"].items():
        shas = (stage.get("parents", {}).get(name) for name in names)
        shown = (f"{n} ({sha[:SHORT]})" if sha and sha[:4] != "hub:" else n for n, sha in zip(names, shas, strict=True))
        lines.append(f"  {use:10} {', '.join(shown)}")
    lines += [f"  amended    {describe_amendment(amendment)}" for amendment in stage.get("amendments", ())]
    if "finished" in stage:
        lines.append(f"  made       {stage['finished']}, in {duration(stage['seconds'])}")
    main_outputs = [name for name in stage["outputs"] if name.endswith((".safetensors", "kept.jsonl", "results.json"))]
    lines += [f"  output     {name} (sha256 {stage['outputs'][name][:SHORT]})" for name in main_outputs]
    return lines

"""Which data, which models and which code made a run or one of its stages, back to the roots. Reads its files only."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1kit.console import duration
from r1kit.errors import UserError, nearest
from r1kit.files import read_json

CODE = ("r1kit", "source", "commit", "python", "versions")
MACHINE = ("platform", "cpu", "threads", "device", "dtype")
RECORDED = ("identity", "seed", "r1kit", "dtype", "started", "finished", "seconds", "sandbox", "parents", "revisions")
SHORT = 12  # characters shown of a hash


def trace(run_dir: Path, stage: str | None = None) -> dict[str, Any]:
    """All that is recorded of a run, or of `stage` and what it stands on, as plain values.

    {"run", "recipe", "seed", "code", "machine", "changes", "stages": [...], "roots": [...]}; stages in the order they
    run, roots are what was not made here: models, records and problems. UserError if `run_dir` is no run or has no such
    stage.
    """
    if not (run_dir / "recipe.toml").is_file() or not (run_dir / "lineage.json").is_file():
        raise UserError(f"{run_dir} is not a run directory: it has no recipe.toml with a lineage.json beside it")
    configs = tomllib.loads((run_dir / "recipe.toml").read_text(encoding="utf-8"))["stage"]
    lineage = read_json(run_dir / "lineage.json")
    if stage is not None and stage not in configs:
        close = nearest(stage, configs)
        raise UserError(f"{stage}: no such stage in {run_dir}; {f'did you mean {close}? ' if close else ''}"
                        f"Stages: {', '.join(configs)}")  # fmt: skip
    wanted = set(configs) if stage is None else ancestors(stage, configs)
    stages = [_stage(run_dir, name, configs, lineage["stages"].get(name, {})) for name in configs if name in wanted]
    about = {key: lineage.get(key) for key in ("recipe", "seed", "changes", "forked_from") if key in lineage}
    about |= {"code": {key: lineage.get(key) for key in CODE}, "machine": {key: lineage.get(key) for key in MACHINE}}
    return {"run": str(run_dir), **about, "stages": stages, "roots": _roots(stages, configs)}


def reads(config: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, list[str]]:
    """What a stage is made from, by use: model, data, rewards (earlier stages), prompts and benchmarks.

    `config`: its part of the resolved recipe.
    """
    general = config.get("general") or []
    prompts = [*(config.get("prompts") or []), *(source for part in general for source in part["prompts"])]
    benchmarks = [source for group in (config.get("benchmarks") or {}).values() for source in group]
    found = {
        "model": [config["model"]] if config.get("model") else [],
        "data": list(config.get("data") or []),
        "rewards": [name for part in general for name in part["rewards"] if name in stages],
        "prompts": [_named(source) for source in prompts],
        "benchmarks": [_named(source) for source in benchmarks],
    }
    return {use: list(dict.fromkeys(names)) for use, names in found.items() if names}


def _named(source: str | Mapping[str, Any]) -> str:
    return source if isinstance(source, str) else str(source["source"])


def made_here(config: Mapping[str, Any], stages: Mapping[str, Any]) -> list[str]:
    """The stages that a stage is made from."""
    return list(dict.fromkeys(name for names in reads(config, stages).values() for name in names if name in stages))


def ancestors(stage: str, configs: Mapping[str, Any]) -> set[str]:
    """The stage and every stage it stands on."""
    found: set[str] = set()
    ahead = [stage]
    while ahead:
        if (name := ahead.pop()) not in found:
            found.add(name)
            ahead += made_here(configs[name], configs)
    return found


def _stage(run_dir: Path, name: str, configs: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    published = run_dir / "stages" / name / "artifact.json"
    artifact = read_json(published) if published.is_file() else {}
    state = "done" if artifact else "begun" if (run_dir / "stages" / name).is_dir() else "not started"
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
    """What these stages read that no stage made, with its fingerprint where one was taken."""
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


def render(found: Mapping[str, Any]) -> str:
    """What `trace` found, for people."""
    lines = [f"{found['run']}: recipe {found['recipe']}, seed {found['seed']}", *_code(found), "", "roots"]
    for root in found["roots"]:
        by = root["used_by"]
        users = ", ".join(by[:4]) + (f" and {len(by) - 4} more" if len(by) > 4 else "")
        lines.append(f"  {root['name']}  {_origin(root)}  ({root['use']} of {users})")
    for stage in found["stages"]:
        lines += ["", *_told(stage)]
    return "\n".join(lines)


def _origin(root: Mapping[str, Any]) -> str:
    if root["name"].startswith("world:"):
        return "made by the code"
    if "revision" in root:
        return f"revision {root['revision'][:SHORT]}"
    if root["identity"] is None:
        return "no fingerprint taken"
    return root["identity"] if root["identity"].startswith("hub:") else f"sha256 {root['identity'][:SHORT]}"


def _code(found: Mapping[str, Any]) -> list[str]:
    code, machine = found["code"], found["machine"]
    commit = f", commit {code['commit'][:SHORT]}" if code["commit"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in (code["versions"] or {}).items())
    lines = [
        f"code     r1kit {code['r1kit']}, source {code['source']}{commit}; python {code['python']}, {versions}",
        f"machine  {machine['cpu']}, {machine['threads']} threads, {machine['device']} {machine['dtype']}; "
        f"{machine['platform']}",
    ]
    lines += [f"forked   from {found['forked_from']}"] if "forked_from" in found else []
    for change in found.get("changes", []):
        told = "; ".join(f"{key}: {old} before, {new} since" for key, (old, new) in change["changed"].items())
        lines.append(f"changed  {change['at']}: {told}")
    return lines


def _told(stage: Mapping[str, Any]) -> list[str]:
    lines = [f"{stage['name']} ({stage['kind']}), {stage['state']}"]
    if "identity" in stage:
        lines.append(f"  identity   {stage['identity'][:SHORT]}, seed {stage['seed']}, r1kit {stage['r1kit']}")
    for use, names in stage["reads"].items():
        shas = (stage.get("parents", {}).get(name) for name in names)
        shown = (f"{n} ({sha[:SHORT]})" if sha and sha[:4] != "hub:" else n for n, sha in zip(names, shas, strict=True))
        lines.append(f"  {use:10} {', '.join(shown)}")
    if "finished" in stage:
        lines.append(f"  made       {stage['finished']}, in {duration(stage['seconds'])}")
    main = [name for name in stage["outputs"] if name.endswith((".safetensors", "kept.jsonl", "results.json"))]
    lines += [f"  output     {name} (sha256 {stage['outputs'][name][:SHORT]})" for name in main]
    return lines

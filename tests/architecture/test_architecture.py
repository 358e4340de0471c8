"""The rules of the tree, held by machine: layers, sizes, knobs, what is imported when, what is never called."""

from __future__ import annotations

import ast
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

import r1kit
from r1kit.config import Recipe

PACKAGE = Path(r1kit.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES, FUNCTION_LINES, KNOBS = 350, 60, 120

# Imports point to a strictly lower level, so modules of one level never import each other. A package is one module.
LEVELS = {
    **dict.fromkeys(("config", "types", "errors", "hashing", "interrupt", "console", "run_dir"), 0),
    **dict.fromkeys(("files", "machine", "metrics"), 1),
    **dict.fromkeys(("model", "data"), 2),
    **dict.fromkeys(("rewards", "engine", "learn"), 3),
    "rollout": 4,
    "evals": 5,
    "stages": 6,
    **dict.fromkeys(("recipe", "plan", "report"), 7),  # a report reads files: no module above it is needed
    "run": 8,
    "cli": 9,
    "__main__": 10,
}
TORCH_FREE = "cli plan recipe run.lineage run.pipeline run.forecast run.preview evals.measure model.reference".split()
TORCH_FREE += "rewards.grade_file rewards.workers.pool rewards.workers.worker metrics.watchdog_log".split()
TORCH_FREE += "report.render report.comparison report.terminal report.ancestry".split()
TORCH_FREE += [name for name, level in LEVELS.items() if level <= 1]
HEAVY = ("torch", "transformers", "datasets")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 1)}"


def imported_units(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every r1kit module or package imported anywhere in a file, function bodies and TYPE_CHECKING included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            if node.module == "r1kit":
                yield from ((node, alias.name) for alias in node.names if alias.name in LEVELS)
            elif node.module and node.module.startswith("r1kit."):
                yield node, node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from ((node, alias.name.split(".")[1]) for alias in node.names if alias.name.startswith("r1kit."))


def test_every_module_has_a_level() -> None:
    units = {name_of(path).split(".")[0] for path in MODULES} - {""}
    assert {unit for unit in units if unit != "__init__"} <= set(LEVELS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down_only(path: Path) -> None:
    unit = name_of(path).split(".")[0]
    if unit == "__init__":  # the public names; they are imported when first used
        return
    wrong = [
        f"{where(path, node)}: {unit} (level {LEVELS[unit]}) imports {other} (level {LEVELS.get(other)})"
        for node, other in imported_units(tree_of(path))
        if other != unit and LEVELS.get(other, 99) >= LEVELS[unit]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{where(path, ast.Module())}: {lines} lines"
    functions = (n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    sizes = {f"{where(path, f)}: {f.name}": f.end_lineno - f.lineno + 1 for f in functions}
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES} == {}


def config_models(annotation: object) -> set[type[BaseModel]]:
    """Every config class that can occur in a recipe."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        inner = (field.annotation for field in annotation.model_fields.values())
        return {annotation}.union(*map(config_models, inner))
    return set().union(*map(config_models, typing.get_args(annotation)))


def test_every_knob_earns_its_place() -> None:
    """A knob counts once, where it is declared: what several kinds of stage inherit means the same in each."""
    knobs = {
        f"{model.__name__}.{name}"
        for model in config_models(Recipe)
        for name, field in model.model_fields.items()
        if name != "kind" and name in model.__annotations__ and not config_models(field.annotation)
    }
    assert 50 < len(knobs) <= KNOBS, f"{len(knobs)} knobs: remove one before adding one"


@pytest.mark.parametrize("module", TORCH_FREE)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    code = f"import sys, r1kit.{module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "marshal.loads"}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            keywords = {word.arg: word.value for word in node.keywords}
            if name in FORBIDDEN_CALLS:
                yield f"{where(path, node)}: {name}()"
            if name == "torch.load" and not is_constant(keywords.get("weights_only"), True):
                yield f"{where(path, node)}: torch.load without weights_only=True"
            if "trust_remote_code" in keywords and not is_constant(keywords["trust_remote_code"], False):
                yield f"{where(path, node)}: trust_remote_code"
            if name.startswith("subprocess.") and "shell" in keywords:
                yield f"{where(path, node)}: a shell"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"{where(path, node)}: import {n}" for n in names if n.split(".")[0] in FORBIDDEN_IMPORTS)
        elif isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield f"{where(path, node)}: bare except"
            elif all(isinstance(line, ast.Pass | ast.Continue) for line in node.body):
                yield f"{where(path, node)}: an exception is swallowed"
            elif broad(node.type) and not any(isinstance(n, ast.Raise) for line in node.body for n in ast.walk(line)):
                yield f"{where(path, node)}: {dotted(node.type)} is caught and not raised again"


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def broad(node: ast.expr) -> bool:
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(dotted(name) in ("Exception", "BaseException") for name in names)


# The guest's whole purpose is to run a candidate's program, inside the candidate's own interpreter.
OUTSIDE = [path for path in MODULES if path.parent.name != "guest"]


@pytest.mark.parametrize("path", OUTSIDE, ids=name_of)
def test_nothing_evaluates_unpickles_or_swallows(path: Path) -> None:
    assert not list(faults(path))


def test_the_rules_catch_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "r1kit")
    bad = tmp_path / "r1kit" / "bad.py"
    bad.parent.mkdir()
    bad.write_text(
        "import pickle\nimport torch\n"
        "def f(x):\n    eval(x)\n    torch.load(x)\n    torch.load(x, weights_only=False)\n"
        "    try: f(x)\n    except ValueError: pass\n"
        "    try: f(x)\n    except: return 1\n"
        "    try: f(x)\n    except Exception: return 0.0\n"
        "    from r1kit.stages.rl import run\n    from r1kit import cli\n    import r1kit.learn.loss\n"
    )
    assert [fault.split(":")[1] for fault in sorted(faults(bad), key=lambda f: int(f.split(":")[1]))] == [
        "1", "4", "5", "6", "8", "10", "12"
    ]  # fmt: skip
    assert sorted(unit for _, unit in imported_units(tree_of(bad))) == ["cli", "learn", "stages"]

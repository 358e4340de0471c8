"""Nothing evaluates strings, unpickles, starts a shell or swallows an exception."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_tree import modules, name_of, tree_of, where

CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "marshal.loads"}
IMPORTS = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
# Code of the guest runs candidate programs inside the sandbox, so it must call exec.
MODULES = [path for path in modules() if path.parent.name != "guest"]


def dotted(node: ast.expr) -> str:
    """The name of a function as written: `os.system`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(path: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield from (f"{where(path, node)}: {text}" for text in call_faults(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"{where(path, node)}: import {n}" for n in names if n.split(".")[0] in IMPORTS)
        elif isinstance(node, ast.ExceptHandler):
            yield from (f"{where(path, node)}: {text}" for text in handler_faults(node))


def call_faults(node: ast.Call) -> Iterator[str]:
    name = dotted(node.func)
    keywords = {word.arg: word.value for word in node.keywords}
    if name in CALLS:
        yield f"{name}()"
    if name == "torch.load" and not is_constant(keywords.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if "trust_remote_code" in keywords and not is_constant(keywords["trust_remote_code"], False):
        yield "trust_remote_code"
    if name.startswith("subprocess.") and "shell" in keywords:
        yield "a shell"


def handler_faults(node: ast.ExceptHandler) -> Iterator[str]:
    if node.type is None:
        yield "bare except"
    elif all(isinstance(line, ast.Pass | ast.Continue) for line in node.body):
        yield "an exception is swallowed"
    elif is_broad(node.type) and not any(isinstance(n, ast.Raise) for line in node.body for n in ast.walk(line)):
        yield f"{dotted(node.type)} is caught and not raised again"


def is_constant(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def is_broad(node: ast.expr) -> bool:
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(dotted(name) in ("Exception", "BaseException") for name in names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_has_no_faults(path: Path) -> None:
    assert not list(faults(path))


def test_every_rule_finds_its_fault(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import pickle\nimport torch\n"
        "def f(x):\n    eval(x)\n    torch.load(x)\n    torch.load(x, weights_only=False)\n"
        "    try: f(x)\n    except ValueError: pass\n"
        "    try: f(x)\n    except: return 1\n"
        "    try: f(x)\n    except Exception: return 0.0\n"
        "    subprocess.run(x, shell=True)\n    g(x, trust_remote_code=True)\n"
    )
    lines = sorted(int(fault.split(":")[1]) for fault in faults(bad))
    assert lines == [1, 4, 5, 6, 8, 10, 12, 13, 14]

"""The package's source as syntax trees: modules, their names and what they import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import r1kit

PACKAGE = Path(r1kit.__file__).parent


def modules(package: Path = PACKAGE) -> list[Path]:
    """All files of the package, sorted."""
    return sorted(package.rglob("*.py"))


def name_of(path: Path) -> str:
    """Name of a module below r1kit: `learn.loss`. A package has the name of its folder, r1kit itself is `__init__`."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".")


def tree_of(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def where(path: Path, node: ast.AST) -> str:
    """Location of a node for messages: `learn/loss.py:12`."""
    return f"{path.name if PACKAGE not in path.parents else path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}"


def imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield every name that a file imports from r1kit, without the prefix `r1kit.`.

    Imports inside functions and under TYPE_CHECKING count too. `from r1kit.a import b` yields `a.b`, where `b` may be a
    module or a name in one.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            module = node.module or ""
            if module == "r1kit" or module.startswith("r1kit."):
                yield from ((node, f"{module}.{alias.name}".removeprefix("r1kit.")) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node, alias.name[6:]) for alias in node.names if alias.name.startswith("r1kit."))

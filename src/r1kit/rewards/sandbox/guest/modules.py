"""Import modules from texts: a task has no files in any tier. Programs made from repositories use this."""

from __future__ import annotations

import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType


class Texts(Loader):
    """Finder and loader of modules whose texts are known by path, such as "shop/cart.py"."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the module of that name; a folder without `__init__.py` is an empty package."""
        place = name.replace(".", "/")
        if f"{place}.py" in self.texts:
            return ModuleSpec(name, self, origin=f"{place}.py")
        if any(file.startswith(f"{place}/") for file in self.texts):
            return ModuleSpec(name, self, origin=f"{place}/__init__.py", is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the text of a module."""
        origin = module.__spec__.origin if module.__spec__ else None
        exec(compile(self.texts.get(origin or "", ""), origin or "", "exec"), module.__dict__)


def install(texts: dict[str, str]) -> None:
    """Let these modules be imported, before any others of the same name."""
    for name in {path.split("/")[0].removesuffix(".py") for path in texts}:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Texts(texts))

"""r1kit: the DeepSeek-R1 recipe as one resumable command.

    from r1kit import load_recipe, run
    result = run(load_recipe("sprout-zero"))
    print(result.evals)

Names are imported when first used, so `import r1kit` loads neither torch nor pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "load_recipe": "recipe",
    "dump_toml": "recipe",
    "run": "run.pipeline",
    "RunResult": "run.pipeline",
    "evaluate": "evals.measure",
    "sample": "evals.measure",
    "grade": "rewards.score",
    "Recipe": "config",
    "Problem": "types",
    "Completion": "types",
    "Score": "types",
    "UserError": "errors",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'r1kit' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"r1kit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__

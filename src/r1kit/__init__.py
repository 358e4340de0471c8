"""r1kit: the DeepSeek-R1 recipe as one resumable command.

    from r1kit import load_recipe, run_recipe
    result = run_recipe(load_recipe("sprout-zero"))
    print(result.evals)

The public names are imported on first use, so `import r1kit` loads neither torch nor pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {  # public name -> module that defines it, and its name there if it is another one
    "load_recipe": "recipe",
    "dump_toml": "recipe",
    "run_recipe": "run.pipeline:run",  # `run` is a package
    "RunResult": "run.pipeline",
    "evaluate": "evals.measure",
    "sample": "evals.measure",
    "grade": "rewards.score",
    "RewardInput": "rewards.reply",
    "Recipe": "config",
    "Problem": "types",
    "Completion": "types",
    "Score": "types",
    "UserError": "errors",
}
__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'r1kit' has no attribute {name!r}; public names: {', '.join(__all__)}")
    module, _, attribute = _MODULES[name].partition(":")
    return getattr(import_module(f"r1kit.{module}"), attribute or name)


def __dir__() -> list[str]:
    return __all__

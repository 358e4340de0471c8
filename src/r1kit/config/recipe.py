"""The recipe: a run's settings and its stages."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, PrivateAttr, field_validator

from r1kit.config.base import PromptSource, Service, Strict
from r1kit.config.evaluate import Evaluate
from r1kit.config.rl import RL
from r1kit.config.stage import StageConfig
from r1kit.types import SandboxTier, TrackerName


def _stage_kinds() -> dict[str, type[StageConfig]]:
    """Import every module of this package; return the stage configs by kind."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")
    kinds: dict[str, type[StageConfig]] = {}
    classes = StageConfig.__subclasses__()
    while classes:
        config = classes.pop()
        classes += config.__subclasses__()
        kind: Any = config.model_fields["kind"].annotation
        if get_origin(kind) is Literal:
            kinds[get_args(kind)[0]] = config
    return dict(sorted(kinds.items()))


STAGE_KINDS = _stage_kinds()
ENGINES = ("native", "vllm")

if TYPE_CHECKING:
    Stage = StageConfig
else:
    Stage = Annotated[reduce(or_, STAGE_KINDS.values()), Field(discriminator="kind")]


class Recipe(Strict):
    """Named stages that run in the order they are written, and the settings they share."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Name of the recipe and of its default run directory, `runs/NAME`."""
    seed: int = 0
    """Seed from which every random number is derived."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type of the computation; `auto` takes the best one of the machine (`r1kit doctor`)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the computation; `auto` takes a GPU if there is one."""
    engine: str | list[str] = "native"
    """What generates completions: `native` is r1kit itself; `vllm` is vLLM in the same process; a list of URLs, such as
    `["http://node7:8000"]`, are vLLM servers that weights are pushed to (docs/vllm.md)."""
    processes: int = Field(1, gt=0, le=1024)
    """Processes that train together on this machine, such as one for each GPU: each samples and trains its share.
    `r1kit run` starts them; torchrun, which can start them on several machines, replaces this number."""
    max_concurrent: int = Field(512, gt=0)
    """Completions generated at the same time, at most."""
    kv_cache_tokens: int | None = Field(None, gt=0)
    """Tokens that the KV cache holds at the same time; as many as fit into memory by default. Where they are too few,
    completions wait, or are interrupted and continued. It changes no completion."""
    sandbox: Literal["auto", SandboxTier] = "auto"
    """Sandbox for programs that are graded; `auto` takes the strongest that works, `none` runs them unprotected."""
    judge: Service | None = None
    """Model that grades problems with the verifier `judge`, in rl and evaluate stages. Paper: DeepSeek-V3."""
    reward_workers: int = Field(2, gt=0, le=1024)
    """Worker processes for grading that rules cannot do in the main process."""
    reward_timeout: float = Field(300.0, gt=0)
    """Seconds to grade one completion in a worker process; a completion that takes longer is masked."""
    track: list[TrackerName] = Field([])
    """Trackers that the metrics are sent to during the run; none by default. Each needs `pip install 'r1kit[NAME]'`
    (docs/watching.md). They change no result."""
    stage: dict[str, Stage] = Field(min_length=1)
    """Stages by name."""

    _folder: Path | None = PrivateAttr(None)

    @field_validator("engine")
    @classmethod
    def _engine_exists(cls, engine: str | list[str]) -> str | list[str]:
        given = engine if isinstance(engine, str) else [url.rstrip("/") for url in engine]
        wrong = [url for url in given if not re.match(r"https?://[^/]", url)] if isinstance(given, list) else []
        if given not in ENGINES and (isinstance(given, str) or not given or wrong or len({*given}) < len(given)):
            raise ValueError(
                f'must be "native", "vllm", or a list of the different URLs of vLLM servers, such as '
                f'["http://localhost:8000"]{f"; {wrong[0]!r} is no URL" if wrong else ""}'
            )
        return given

    def __eq__(self, other: object) -> bool:
        """Compare the content; the directory of the file does not matter."""
        return isinstance(other, Recipe) and self.model_dump() == other.model_dump()

    @property
    def folder(self) -> Path | None:
        """Directory of the recipe's file, from which custom rewards are imported."""
        return self._folder

    def held_out(self, stage: StageConfig) -> dict[str, list[PromptSource]]:
        """Return the benchmarks of evaluate stages that an RL stage must not train on, besides its own.

        Problems that the stage trains on by name are not held out: they are evaluated to compare.
        """
        if not isinstance(stage, RL) or stage.is_generated or not stage.ngram:
            return {}
        own = {(source.source, source.split) for _, source in stage.sources()}
        held_out: dict[str, list[PromptSource]] = {}
        for other in self.stage.values():
            for name, sources in other.benchmarks.items() if isinstance(other, Evaluate) else ():
                known = held_out.setdefault(name, [])
                known += [each for each in sources if (each.source, each.split) not in own and each not in known]
        return {name: sources for name, sources in held_out.items() if sources}

    def with_folder(self, folder: Path) -> Recipe:
        """Return a copy that knows the directory of its file."""
        recipe = self.model_copy()
        recipe._folder = folder
        return recipe

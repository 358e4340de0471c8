"""A claim of the paper as it stands in `claims/NAME.toml`; EXAMPLE explains the keys."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from r1kit.bundled import bundled_claims
from r1kit.config.base import Strict
from r1kit.errors import UserError, requirement
from r1kit.synonyms import nearest

WIN_RATE = "win_rate"  # of a benchmark: how often replies are preferred to those of another stage
EXAMPLE = """\
claim = "Twice the steps make R1-Zero better."   # the paper's sentence in our words
paper = "Section 2.3, Figure 1"                  # its place
theirs = "AIME 2024: 15.6 -> 77.9 %"             # the paper's numbers; optional, as is `note`

[runs.short]                    # recipes: bundled ones, files, or complete ones
extends = "sprout-r1"
stage.zero.steps = 40

[runs.long]
extends = "sprout-r1"

[[measure]]                     # all must be confirmed for the claim to be
what = "accuracy of R1-Zero"
metric = "reasoning/pass@1"     # of problems.jsonl; BENCHMARK/win_rate; or a metric of training
low = "short/zero_eval"         # RUN/STAGE or a number; only these stages and what they need run
high = "long/zero_eval"
above = 0.0                     # the band of high - low; `below` is its upper end, if there is one

[[measure]]
what = "tokens of a completion in training: last tenth of the steps above the first"
metric = "completions/mean_length"
low = { at = "long/zero", steps = [0.0, 0.1] }    # also: metric, where.level = "5", against
high = { at = "long/zero", steps = [0.9, 1.0] }
"""


class Side(Strict):
    """One side of a comparison: a constant, or a metric of a stage. A plain string is short for `at` alone."""

    at: str = ""
    """RUN/STAGE: a key of `runs`, and a stage of that recipe."""
    value: float | None = None
    """A constant instead of a stage. A plain number is short for it."""
    metric: str = ""
    """The measure's metric by default. Of an evaluate stage BENCHMARK/METRIC with a name or a difference `A - B` of
    names in its problems.jsonl, or BENCHMARK/win_rate; of another stage a metric of its log, or `seconds`."""
    where: dict[Literal["level", "family", "language"], str] = Field({})
    """Problems of an evaluate stage to look at, by level, family or language."""
    against: str = ""
    """RUN/STAGE whose replies a win rate compares with."""
    steps: tuple[float, float] = (0.0, 1.0)
    """Part of a training stage's log to average, as shares of its steps."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return (
            {"at": value} if isinstance(value, str) else {"value": value} if isinstance(value, int | float) else value
        )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.at) == (self.value is not None):
            raise ValueError("give either RUN/STAGE, or a number")
        return self

    @model_validator(mode="after")
    def _steps_in_order(self) -> Self:
        first, last = self.steps
        if not 0 <= first < last <= 1:
            raise ValueError(f"steps = [{first:g}, {last:g}]: must be two rising shares between 0 and 1")
        return self

    @property
    def places(self) -> list[tuple[str, str]]:
        """The stages that the side reads, as (run, stage)."""
        return [(run, stage) for run, _, stage in (each.partition("/") for each in (self.at, self.against) if each)]


class Measure(Strict):
    """A comparison that belongs to a claim: `high` should be above `low`."""

    what: str
    """What is compared, in words."""
    metric: str
    """Metric of both sides; see `Side.metric`."""
    low: Side
    """The side that should be lower."""
    high: Side
    """The side that should be higher."""
    above: float = 0.0
    """Lower end of the band in which high - low counts as confirmed; below 0 where a small loss is allowed."""
    below: float | None = None
    """Upper end of the band; none by default."""

    @model_validator(mode="after")
    def _something_is_measured(self) -> Self:
        if self.low.value is not None and self.high.value is not None:
            raise ValueError("low and high are numbers: at least one must be RUN/STAGE")
        return self

    @model_validator(mode="after")
    def _band_has_room(self) -> Self:
        if self.below is not None and self.below <= self.above:
            raise ValueError(f"above = {self.above:g}, below = {self.below:g}: above must be the smaller one")
        return self

    @property
    def band(self) -> tuple[float, float | None]:
        """(above, below)."""
        return self.above, self.below

    @property
    def sides(self) -> tuple[Side, Side]:
        """(low, high), each with its metric."""
        low, high = (each.model_copy(update={"metric": each.metric or self.metric}) for each in (self.low, self.high))
        return low, high


class Claim(Strict):
    """One claim: where the paper makes it, the runs that test it, and what is measured in them."""

    claim: str
    """The paper's sentence in our words."""
    paper: str
    """Its place in the paper."""
    theirs: str = ""
    """The paper's numbers."""
    note: str = ""
    """What is different here, or how to read the result."""
    explained: str = ""
    """Why the claim did not come out: what was measured, by which command. Shown only while it is not confirmed."""
    runs: dict[str, dict[str, Any]] = Field(min_length=1)
    """Recipes by name; most write `extends` and what differs."""
    measure: list[Measure] = Field(min_length=1)
    """All must be confirmed for the claim to be."""

    _path: Path = PrivateAttr()

    @model_validator(mode="after")
    def _runs_exist(self) -> Self:
        for run, stage in self.places():
            if run not in self.runs or not stage:
                names = ", ".join(self.runs)
                raise ValueError(f"{run}/{stage}: must be RUN/STAGE with a run of this file: {names}")
        return self

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield every (run, stage) that a measure reads."""
        return (place for each in self.measure for side in (each.low, each.high) for place in side.places)

    @property
    def path(self) -> Path:
        """The file of the claim."""
        return self._path

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._path.stem


def load_claim(name_or_path: str) -> Claim:
    """Read a bundled claim or a TOML file. UserError with one line for every mistake."""
    bundled: Mapping[str, Path] = bundled_claims()
    path = bundled.get(name_or_path, Path(name_or_path).expanduser())
    if path.is_dir():
        raise UserError(f"{path}: a directory; give the claim's .toml file")
    if not path.is_file():
        close = nearest(name_or_path, bundled)
        raise UserError(
            f"{name_or_path!r}: neither a claim nor a file; {f'did you mean {close}? ' if close else ''}"
            "`r1kit claims` lists them"
        )
    try:
        claim = Claim.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        lines = []
        for each in error.errors():
            where = "".join(f"{key}." for key in each["loc"])[:-1]
            lines.append(": ".join(filter(None, [str(path), where, requirement(each["msg"])])))
        raise UserError("\n".join(lines)) from None
    claim._path = path
    return claim

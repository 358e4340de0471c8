"""The paths of the files in a run directory. Nothing here reads or writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StageDir:
    """The directory of one stage: RUN/stages/NAME."""

    path: Path

    @property
    def artifact(self) -> Path:
        """The record of the finished stage. It is written last: the stage is finished when it exists."""
        return self.path / "artifact.json"

    @property
    def error(self) -> Path:
        """The traceback of the last attempt, if it failed."""
        return self.path / "error.txt"

    @property
    def metrics(self) -> Path:
        """Metrics by step, identical in every run of the same recipe."""
        return self.path / "metrics.jsonl"

    @property
    def timings(self) -> Path:
        """Durations and rates by step, which differ between runs."""
        return self.path / "timings.jsonl"

    @property
    def rollouts(self) -> Path:
        """A directory of completions, one file for each logged step."""
        return self.path / "rollouts"

    @property
    def checkpoints(self) -> Path:
        """A directory of what an unfinished stage resumes from."""
        return self.path / "checkpoints"

    @property
    def endpoint_cache(self) -> Path:
        """A directory of the replies of judges and rewriters, so that each request is sent once."""
        return self.path / "endpoint"

    @property
    def pushed_weights(self) -> Path:
        """The weights that vLLM servers are reading. They are deleted when the stage ends."""
        return self.path / ".pushed-weights"

    @property
    def tokens(self) -> Path:
        """The tokenized records of an unfinished stage that trains on records."""
        return self.path / "tokens.npz"

    @property
    def model(self) -> Path:
        """The published Hugging Face checkpoint."""
        return self.path / "model"

    @property
    def data(self) -> Path:
        """The published data: records, or the results of an evaluation."""
        return self.path / "data"

    @property
    def records(self) -> Path:
        """The records that a curate stage accepted, which later stages train on."""
        return self.data / "kept.jsonl"

    @property
    def results(self) -> Path:
        """The metrics of an evaluate stage, by benchmark."""
        return self.data / "results.json"

    @property
    def samples(self) -> Path:
        """Every completion of an evaluate stage with its grade."""
        return self.data / "samples.jsonl"

    @property
    def problems(self) -> Path:
        """The metrics of every problem of an evaluate stage, by which models are compared."""
        return self.data / "problems.jsonl"

    @property
    def is_finished(self) -> bool:
        """Whether the stage has published its artifact."""
        return self.artifact.is_file()

    @property
    def has_progress(self) -> bool:
        """Whether the stage has written anything but the traceback of a failed start and tokenized records."""
        return any(path not in (self.error, self.tokens, self.pushed_weights) for path in self.path.glob("*"))


@dataclass(frozen=True, slots=True)
class RunDir:
    """The directory of a run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The recipe with every default written out."""
        return self.path / "recipe.toml"

    @property
    def lineage(self) -> Path:
        """What the run was made from and by: stages, parents, code, libraries and machine."""
        return self.path / "lineage.json"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def lock(self) -> Path:
        """The lock file of the process that works in the directory."""
        return self.path / ".lock"

    @property
    def trackers(self) -> Path:
        """A directory of what trackers have, and of their files."""
        return self.path / "trackers"

    @property
    def stages(self) -> Path:
        """The parent of all stage directories."""
        return self.path / "stages"

    @property
    def replaced(self) -> Path:
        """The parent of previous results of stages that are being run again."""
        return self.path / "replaced"

    def stage(self, name: str) -> StageDir:
        """Return the directory of one stage."""
        return StageDir(self.stages / name)

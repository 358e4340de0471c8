"""IFEval: strict and loose verdicts of recorded responses, for prompts and for instructions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from r1kit.config import PromptSource
from r1kit.console import say
from r1kit.data.store import DataError, read_rows
from r1kit.evals.named.sources import rows_of
from r1kit.evals.scoring.base import Groups, Options, Row, Scorer, answer_text, field, group_of
from r1kit.evals.scoring.ifeval_checks import loose, strict
from r1kit.evals.task import find_task
from r1kit.rewards.checks.ifeval import BadConstraint, Constraint, pairs_of
from r1kit.types import Problem

NEARBY = ("ifeval/prompts.jsonl", "ifeval/input_data.jsonl", "ifeval.jsonl", "input_data.jsonl")
VERIFIER = "ifeval_strict"  # of the benchmark's problems
PARENTS = 3  # folders above the file in which prompts are looked for


class IfEval(Scorer):
    """Scores `response` by the instructions of the row (`instruction_id_list`, `kwargs`), or of its prompt (`key`)."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._options = options
        self._prompts: dict[str, list[Constraint]] | None = None
        self._means, self._instructions = Groups(), Groups()

    def add(self, row: Row) -> None:
        """Score a row. It agrees if the recorded verdicts on all of its instructions are ours."""
        constraints, reply = self._constraints(row), answer_text(row)
        try:
            verdicts = {"strict": strict(reply, constraints), "loose": loose(reply, constraints)}
        except BadConstraint as error:
            raise DataError(str(error)) from None
        groups = {"models": group_of(row, "model")}
        self._means.add(groups, **{f"prompt_{mode}": all(kept) for mode, kept in verdicts.items()})
        for kept in zip(*verdicts.values(), strict=True):
            self._instructions.add(groups, **{f"instruction_{mode}": k for mode, k in zip(verdicts, kept, strict=True)})
        self.compare(row, verdicts)
        if self.against is not None and isinstance(recorded := row[self.against], list):
            ours = verdicts["loose" if self.against == "loose" else "strict"]
            if len(recorded) == len(ours):
                for theirs, kept_ in zip(recorded, ours, strict=True):
                    self._instructions.all.add(instructions_agreeing=theirs == kept_)

    def _constraints(self, row: Row) -> list[Constraint]:
        if "instruction_id_list" in row:
            return pairs_of(row["instruction_id_list"], row.get("kwargs"))
        key = str(field(row, "key", "instruction_id_list"))
        if self._prompts is None:
            rows = _prompt_rows(self._options)
            self._prompts = {str(field(r, "key")): pairs_of(r["instruction_id_list"], r.get("kwargs")) for r in rows}
        if key not in self._prompts:
            raise DataError(f"key = {key}: no such prompt among the {len(self._prompts)} of IFEval")
        return self._prompts[key]

    def metrics(self) -> dict[str, Any]:
        """Return the shares of prompts and of instructions that were followed, in percent."""
        by_prompt, by_instruction = self._means.percent(), self._instructions.percent()
        models = {
            model: {**shares, **by_instruction["models"][model]}
            for model, shares in by_prompt.pop("models", {}).items()
        }
        by_instruction.pop("models", None)
        return {**by_prompt, **by_instruction, **({"models": models} if models else {})}


def followed(problems: Sequence[Problem], rows: Iterable[Row]) -> dict[str, float]:
    """Return the shares of prompts and of instructions that were followed, strict and loose.

    Args:
        problems: The problems; those of other graders are left out.
        rows: Their rows of samples.jsonl. `extracted` is the reply after the thinking.

    Returns:
        "prompt_strict", "prompt_loose", "instruction_strict" and "instruction_loose", from 0 to 1; {} without rows.
    """
    own = {problem.id: problem for problem in problems if problem.verifier == VERIFIER}
    scorer = IfEval(Options())
    for row in rows:
        if (problem := own.get(row["prompt_id"])) is not None:
            scorer.add(response_row(problem, row["extracted"]))
    return {name: share / 100 for name, share in scorer.metrics().items()}


def response_row(problem: Problem, reply: str | None) -> Row:
    """Return a row that `IfEval` scores: a reply without its thinking, None for no reply, and its instructions."""
    asked = {"instruction_id_list": problem.extra["constraints"], "kwargs": problem.extra.get("kwargs")}
    return {"response": reply or "", **asked}


def _prompt_rows(options: Options) -> Iterable[Row]:
    """Return the prompts: the given file, one near the scored file, or the benchmark's data."""
    path = options.problems or _nearby(options.near)
    if path is None:
        return rows_of(find_task("ifeval"), PromptSource(source="bench:ifeval"))
    say(f"prompts of IFEval: {path}")
    return read_rows(path)


def _nearby(file: Path | None) -> Path | None:
    if file is None:
        return None
    folders = list(file.resolve().parents)[:PARENTS]
    return next((path for folder in folders for name in NEARBY if (path := folder / name).is_file()), None)

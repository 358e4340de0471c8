"""Grade our own recorded samples again (samples.jsonl of `r1kit eval` and of evaluate stages), without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from r1kit.config import PromptSource
from r1kit.data.store import DataError
from r1kit.evals.graders import GRADERS, grader_named
from r1kit.evals.metrics import cons_at_k, pass_at_k, standard_error, vote_sizes
from r1kit.evals.named.sources import load_task
from r1kit.evals.scoring.base import Groups, Options, Row, Scorer, typed
from r1kit.evals.task import find_task, task_names
from r1kit.evals.votes import group_answers
from r1kit.rewards.reply import Reply
from r1kit.types import Problem


class Replay(Scorer):
    """Grades `completion` by the benchmark's grader; `prompt_id` finds the problem in the benchmark's data.

    The samples of a problem must follow each other, as r1kit writes them. Rows of other benchmarks are skipped;
    ungraded samples are counted and left out.
    """

    def __init__(self, benchmark: str, options: Options) -> None:
        super().__init__(options)
        source = f"bench:{benchmark}" + (f"={options.problems}" if options.problems else "")
        self._problems: Mapping[str, Problem] = {
            p.id: p for p in load_task(find_task(benchmark), PromptSource(source=source))
        }
        self._benchmark = benchmark
        self._others = set(task_names()) - {benchmark, benchmark.partition(":")[0]}
        self._means = Groups()
        self._singles: list[float] = []  # of each problem
        self._ungraded = 0
        self._group: list[tuple[float, bool, str | None]] = []  # (value, right, answer) of the current problem
        self._current: Problem | None = None

    def add(self, row: Row) -> None:
        """Grade a sample."""
        if row.get("benchmark") in self._others:
            return
        if typed(row, str, "prompt_id") not in self._problems:
            raise DataError(
                f"prompt_id = {row['prompt_id']}: the benchmark's data has no such problem: is it the same?"
            )
        problem = self._problems[row["prompt_id"]]
        if problem is not self._current:
            self._finish()
            self._current = problem
        reply = Reply(
            typed(row, str, "completion"),
            think_open=bool(row.get("think_open")),
            truncated=bool(row.get("truncated")),
            answer_tags=False,
        )
        grader = grader_named(problem.verifier)
        verdict = grader.judge(grader.read(problem), reply)
        is_share = problem.verifier in GRADERS  # their values count as they are, such as F1
        value = verdict.value if is_share else float(verdict.status == "right")
        self.compare(row, {"extracted": verdict.extracted, "correct": None if verdict.masked else value == 1})
        if verdict.masked:
            self._ungraded += 1
            return
        self._group.append((value, value == 1, None if verdict.status == "unparseable" else verdict.extracted))

    def _finish(self) -> None:
        """Add the metrics of the current problem."""
        if self._current is None or not self._group:
            return
        values, correct, answers = zip(*self._group, strict=True)
        self._group = []
        self._singles.append(fmean(values))
        groups = {"levels": str(self._current.level) if self._current.level else None, "families": self._current.family}
        self._means.add(
            {name: group or None for name, group in groups.items()}, **self._of_problem(values, correct, answers)
        )

    def _of_problem(
        self, values: Sequence[float], correct: Sequence[bool], answers: Sequence[str | None]
    ) -> dict[str, float]:
        assert self._current is not None, "called for the samples of a problem"
        k = len(correct)
        metrics = {"pass@1": fmean(values), "unparsed": fmean(answer is None for answer in answers)}
        if k > 1:
            votes = group_answers(self._current, answers)
            metrics |= {f"cons@{m}": cons_at_k(votes, correct, m) for m in vote_sizes(k)}
            metrics[f"pass@{k}"] = pass_at_k(k, sum(correct), k)
        return metrics

    def metrics(self) -> dict[str, Any]:
        """Return pass@1 with its standard error over problems, pass@k, and cons@m by number of voters, in percent."""
        self._finish()
        if not self.n:
            raise DataError(f"no samples of {self._benchmark}: all rows name another benchmark")
        error = 100 * standard_error(self._singles)
        return {
            "problems": len(self._singles),
            "ungraded": self._ungraded,
            "standard_error": error,
            **self._means.percent(),
        }

"""Grade our own recorded samples again (samples.jsonl of `r1kit eval` and of evaluate stages), without a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from r1kit.config import PromptSource
from r1kit.data.store import DataError
from r1kit.evals.graders import GRADERS, grader_named
from r1kit.evals.judging.judges import JUDGES
from r1kit.evals.metrics import cons_at_k, pass_at_k, standard_error, vote_sizes
from r1kit.evals.named.sources import PREFIX, problems_of
from r1kit.evals.scoring.base import Groups, Options, Row, Scorer, field, typed
from r1kit.evals.scoring.ifeval import VERIFIER as INSTRUCTIONS
from r1kit.evals.scoring.ifeval import IfEval, response_row
from r1kit.evals.task import task_names
from r1kit.evals.votes import group_answers
from r1kit.files import read_json
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.rewards.workers.pool import open_sandbox_for
from r1kit.types import Problem


def _sources(benchmark: str, options: Options) -> list[PromptSource]:
    """Return the sources of the problems: the given file, those in results.json beside the samples, or the default."""
    if options.problems is not None:
        return [PromptSource(source=f"{PREFIX}{benchmark}={options.problems}")]
    results = None if options.near is None else options.near.with_name("results.json")
    summaries = read_json(results).get("benchmarks", {}) if results is not None and results.is_file() else {}
    protocols = [summary.get("protocol", {}) for summary in summaries.values()]
    stated = next((p["sources"] for p in protocols if p.get("benchmark") == benchmark and p.get("sources")), None)
    return [PromptSource.model_validate(each) for each in stated or [f"{PREFIX}{benchmark}"]]


class Replay(Scorer):
    """Grades `completion` by the benchmark's grader; `prompt_id` finds the problem in the benchmark's data.

    Where a judge graded, its recorded verdicts count.

    The samples of a problem must follow each other, as r1kit writes them. Rows of other benchmarks are skipped;
    ungraded samples are counted and left out.
    """

    def __init__(self, benchmark: str, options: Options) -> None:
        super().__init__(options)
        self._problems: Mapping[str, Problem] = {p.id: p for p in problems_of(_sources(benchmark, options))}
        open_sandbox_for(self._problems.values())
        self._benchmark = benchmark
        self._others = set(task_names()) - {benchmark, benchmark.partition(":")[0]}
        self._means = Groups()
        self._singles: list[float] = []  # of each problem
        self._followed = IfEval(Options())
        self._grades: defaultdict[str, list[Row]] = defaultdict(list)  # judged rows by grader; only their reasons
        self._ungraded = 0
        self._group: list[tuple[float, bool, str | None]] = []  # (value, right, answer) of the current problem
        self._current: Problem | None = None

    def add(self, row: Row) -> None:
        """Grade a sample."""
        if row.get("benchmark") in self._others:
            return
        if typed(row, str, "prompt_id") not in self._problems:
            raise DataError(
                f"prompt_id = {row['prompt_id']}: no such problem in the benchmark's data. Give the file that was "
                "evaluated: --problems FILE"
            )
        problem = self._problems[row["prompt_id"]]
        if problem is not self._current:
            self._finish()
            self._current = problem
        verdict, value = self._judged(problem, row) if problem.verifier in JUDGES else self._graded(problem, row)
        self.compare(row, {"extracted": verdict.extracted, "correct": None if verdict.masked else value == 1})
        if verdict.masked:
            self._ungraded += 1
            return
        self._group.append((value, value == 1, None if verdict.status == "unparseable" else verdict.extracted))

    def _graded(self, problem: Problem, row: Row) -> tuple[Verdict, float]:
        """Return the grader's verdict on a sample, and its value from 0 to 1."""
        reply = Reply(
            typed(row, str, "completion"),
            think_open=bool(row.get("think_open")),
            truncated=bool(row.get("truncated")),
            answer_tags=bool(row.get("answer_tags")),
        )
        grader = grader_named(problem.verifier)
        verdict = grader.judge(grader.read(problem), reply)
        if problem.verifier == INSTRUCTIONS:
            self._followed.add(response_row(problem, verdict.extracted))
        is_share = problem.verifier in GRADERS  # their values count as they are, such as F1
        return verdict, verdict.value if is_share else float(verdict.status == "right")

    def _judged(self, problem: Problem, row: Row) -> tuple[Verdict, float]:
        """Return the recorded verdict of a judge, which is not asked again, and its value from 0 to 1."""
        correct, reason = field(row, "correct"), typed(row, str, "reason")
        value = float(row.get("credit", bool(correct)))
        if correct is None:
            return Verdict(0.0, None, reason, "infra_error"), value
        self._grades[problem.verifier].append({"reason": reason})
        extracted = row.get("extracted")
        return Verdict(value, extracted, reason, "unparseable" if extracted is None else "right"), value

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

    def _judge_numbers(self) -> dict[str, float]:
        """Return the metrics that judges give besides pass@1, in percent."""
        tables = [JUDGES[verifier].numbers(rows) for verifier, rows in self._grades.items()]
        return {name: 100 * share for table in tables for name, share in table.items()}

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
            **self._followed.metrics(),
            **self._judge_numbers(),
        }

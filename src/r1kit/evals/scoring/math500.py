"""MATH-500: several final answers to a problem, in the layout of Qwen2.5-Math's evaluation, by our maths verifier."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from r1kit.data.store import DataError
from r1kit.evals.metrics import cons_at_k, first_vote, pass_at_k, vote_sizes
from r1kit.evals.scoring.base import Groups, Options, Row, Scorer, answer_text, field, group_of, numbers, strings
from r1kit.evals.votes import group_answers
from r1kit.rewards.math.check import check
from r1kit.rewards.score import grade
from r1kit.types import Problem


class Math500(Scorer):
    """Scores the answers `pred` by `gt`, with `rm` (scores of a reward model) optional; or `output` by `answer`."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._means, self._curve = Groups(), Groups()

    def add(self, row: Row) -> None:
        """Score the answers of a row. It agrees if all of its recorded verdicts are ours."""
        gold = str(field(row, "gt", "answer"))
        problem = Problem("row", "", gold)
        groups = {"levels": group_of(row, "level")}
        if "pred" not in row:
            right = grade(problem, answer_text(row, "pred")).status == "right"
            self._means.add(groups, **{"pass@1": right})
            self.compare(row, {"correct": right})
            return
        answers = strings(row, "pred")
        if not answers:
            raise DataError("pred is empty: must have at least one answer")
        rulings = [check(gold, answer).status if answer.strip() else "unparseable" for answer in answers]
        correct = [status == "right" for status in rulings]
        k, votes = len(correct), group_answers(problem, [answer.strip() or None for answer in answers])
        self._means.add(
            groups,
            **{
                "pass@1": fmean(correct),
                f"maj@{k}": cons_at_k(votes, correct, k),
                f"maj@{k} first": first_vote(votes, correct),
                f"pass@{k}": pass_at_k(k, sum(correct), k),
                "unparsed": fmean(status == "unparseable" for status in rulings),
                **({f"rm@{k}": self._best(row, correct)} if "rm" in row else {}),
            },
        )
        self._curve.add({}, **{f"maj@{m}": cons_at_k(votes, correct, m) for m in vote_sizes(k)})
        self.compare(row, {"score": correct})

    def _best(self, row: Row, correct: Sequence[bool]) -> bool:
        """Return whether the answer with the highest score of the reward model is right; the first of equal ones."""
        scores = numbers(row, "rm")
        if len(scores) != len(correct):
            raise DataError(f"rm has {len(scores)} scores for {len(correct)} answers: must have one for each")
        return correct[max(range(len(scores)), key=scores.__getitem__)]

    def metrics(self) -> dict[str, Any]:
        """Return shares in percent: pass@1, majority votes with fair ties and with the first answer, pass@k, rm@k."""
        return {**self._means.percent(), **({"vote_curve": curve} if (curve := self._curve.percent()) else {})}

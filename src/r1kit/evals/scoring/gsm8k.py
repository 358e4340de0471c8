"""GSM8K: final numbers by our maths verifier, in the layout of openai/grade-school-math's model solutions."""

from __future__ import annotations

from typing import Any

from r1kit.data.store import DataError
from r1kit.evals.scoring.base import Groups, Options, Row, Scorer, answer_text, field, same, typed
from r1kit.rewards.reply import Reply
from r1kit.rewards.score import grade
from r1kit.types import Problem


class Gsm8k(Scorer):
    """Scores each object with `solution` of a row, or its `output`, by `ground_truth` or `answer`."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._means = Groups()

    def add(self, row: Row) -> None:
        """Score the answers of a row. It agrees if all of its recorded verdicts are ours."""
        gold = typed(row, str, "ground_truth", "answer")
        if not (stated := Reply(gold, free_form=True).answers):
            raise DataError(f"the gold answer {gold[-80:]!r} states no number")
        problem = Problem("row", "", stated[-1])
        solutions = {name: cell for name, cell in row.items() if isinstance(cell, dict) and "solution" in cell}
        if not solutions:
            right = grade(problem, answer_text(row)).status == "right"
            self._means.add({"models": row.get("model")}, accuracy=right)
            self.compare(row, {"correct": right})
            return
        agrees = []
        for model, cell in solutions.items():
            verdict = grade(problem, typed(cell, str, "solution"))
            right = verdict.status == "right"
            self._means.add({"models": model}, accuracy=right, unparsed=verdict.status == "unparseable")
            if self.against is not None:
                agrees.append(same(field(cell, self.against), right))
        self.n += 1
        self.agreed += all(agrees)

    def metrics(self) -> dict[str, Any]:
        """Return the accuracy in percent, also by model."""
        return self._means.percent()

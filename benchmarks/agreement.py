"""Compare the verdicts of `r1kit grade` with labelled answers, and print every disagreement.

    python benchmarks/agreement.py [../shared/data]

Reads the labelled files in that directory that exist: reported faults, mathematical equivalence, hostile answers (where
the verdict is not a matter of taste) and published solutions of GSM8K. Prints the agreement by file and kind.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r1kit.rewards.grade_file import KINDS, grade_line
from r1kit.rewards.reply import Reply

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
Case = tuple[dict[str, Any], bool]  # a line for `r1kit grade`, and whether it is right


def reported(row: dict[str, Any]) -> Iterator[Case]:
    """Yield an answer that some grader judged wrongly."""
    yield row, bool(row["expected"])


def equivalence(row: dict[str, Any]) -> Iterator[Case]:
    """Yield a pair of answers that are equal or not."""
    yield {"kind": "math", "gold": row["gold"], "response": row["pred"]}, bool(row["expected"])


def hostile(row: dict[str, Any]) -> Iterator[Case]:
    """Yield a hostile answer, if every grader must judge it alike; tests/security runs the hostile programs."""
    if row["policy"] == "must" and row["kind"] in KINDS:
        yield row, row["expected"] == 1


def gsm8k(row: dict[str, Any]) -> Iterator[Case]:
    """Yield the published solutions of a problem by several models."""
    gold = Reply(row["ground_truth"]).answers[-1]
    for solution in (value for value in row.values() if isinstance(value, dict)):
        yield {"kind": "math", "gold": gold, "response": solution["solution"]}, bool(solution["is_correct"])


SOURCES = {
    "vectors/reported_faults.jsonl": reported,
    "vectors/math_equivalence.jsonl": equivalence,
    "vectors/adversarial.jsonl": hostile,
    "gsm8k/model_solutions.jsonl": gsm8k,
}


def main(data: Path) -> None:
    """Print the agreement with every file in `data`."""
    for name, cases_of in SOURCES.items():
        if not (data / name).is_file():
            print(f"{name}: skipped, as {data} does not have it")
            continue
        agreed: Counter[tuple[str, bool]] = Counter()
        for line in (data / name).read_text(encoding="utf-8").splitlines():
            for row, right in cases_of(json.loads(line)):
                verdict = grade_line(json.dumps(row))
                same = verdict["correct"] is right
                agreed[row["kind"], same] += 1
                if not same:
                    gold = row.get("gold", row.get("target"))
                    print(f"  {row['kind']}: gold {gold!r}, response {row['response'][-200:]!r}, labelled {right}:")
                    print(f"    {verdict['reason'][:200]}")
        for kind in sorted({kind for kind, _ in agreed}):
            total = agreed[kind, True] + agreed[kind, False]
            print(f"{name}: {kind}: agrees on {agreed[kind, True]} of {total} ({agreed[kind, True] / total:.1%})")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)

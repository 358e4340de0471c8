"""Word problems of our own in the file formats of GSM8K, MATH-500 and MMLU-Pro, for tests that need many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

# (question, steps of the solution); s = a + b and r = a + b - c.
TEMPLATES = (
    (
        "{name} has {a} {things} and finds {b}. How many are there now, after {c} are lost?",
        "There are {a}+{b}=<<{a}+{b}={s}>>{s} {things} at first.",
    ),
    (
        "{name} packs {a} {things} in the morning and {b} in the afternoon. {c} of them are broken and thrown away. "
        "How many {things} are left in the end?",
        "{name} packs {a} + {b} = <<{a}+{b}={s}>>{s} {things} on that day.",
    ),
    (
        "A shop buys {a} {things} on Monday. On Tuesday {name} delivers another {b}, and customers take {c} home. "
        "How many {things} does the shop still have on Tuesday evening?",
        "Monday and Tuesday bring {a}+{b}=<<{a}+{b}={s}>>{s} {things}.",
    ),
)
NAMES = ("Aylin", "Bruno", "Chidi", "Dorit", "Emeka", "Freya")
THINGS = ("marbles", "lamps", "tickets", "buttons", "maps", "bells")


def gsm8k_rows(count: int, seed: int, answer: int | None = None) -> list[dict[str, str]]:
    """Return rows in GSM8K's format; all have the same answer if one is given."""
    random, rows = Random(seed), []
    for _ in range(count):
        a, b = random.randint(10, 60), random.randint(10, 60)
        result = random.randint(2, a + b - 1) if answer is None else answer
        values: dict[str, object] = {"a": a, "b": b, "c": a + b - result, "s": a + b, "r": result}
        values |= {"name": random.choice(NAMES), "things": random.choice(THINGS)}
        question, steps = random.choice(TEMPLATES)
        steps += "\n{s} - {c} = <<{s}-{c}={r}>>{r} {things} are left.\n#### {r}"
        rows.append({"question": question.format(**values), "answer": steps.format(**values)})
    return rows


def write_public_formats(directory: Path) -> Path:
    """Write gsm8k/train.jsonl, gsm8k/test.jsonl, math/math500.jsonl and mmlu_pro/sample.jsonl."""
    rows = gsm8k_rows(400, seed=0) + gsm8k_rows(40, seed=1, answer=8)
    Random(2).shuffle(rows)
    _write(directory / "gsm8k/train.jsonl", rows)
    _write(directory / "gsm8k/test.jsonl", gsm8k_rows(8, seed=3))
    math = [
        {"problem": f"What is ${n}^2 + {n}$?", "solution": f"It is $\\boxed{{{n * n + n}}}$.", "answer": str(n * n + n)}
        | {"subject": "Prealgebra", "level": 1, "unique_id": f"test/prealgebra/{n}.json"}
        for n in range(11, 19)
    ]
    _write(directory / "math/math500.jsonl", math)
    choices = [
        {"question_id": n, "question": f"Which number is divisible by {n}?", "answer": "B", "answer_index": 1}
        | {"options": [str(5 * n + 1), str(4 * n), str(3 * n + 2)], "category": "math", "src": "own"}
        for n in range(4, 12)
    ]
    _write(directory / "mmlu_pro/sample.jsonl", choices)
    return directory


def _write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

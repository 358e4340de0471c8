"""Send mutated responses through `r1kit grade`: no crash, no verdict slower than a second, constant memory.

    python tests/fuzz/grade_sweep.py -n 100000 --workers 2

Every verdict of the grading processes must equal the verdict that a thread of this process gives.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from r1kit.rewards.grade_file import grade_line, grade_stream

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "fixtures" / "rewards" / "vectors" / "adversarial.jsonl"
SHARED_VECTORS = ROOT.parent / "shared" / "data" / "vectors" / "adversarial.jsonl"  # may be absent
PROGRAM = "```python\ndef add(a, b):\n    return a + b\n```"
SEEDS: list[dict[str, Any]] = [
    {"kind": "math", "gold": "\\frac{1}{2}", "response": "<think>half</think> So the answer is \\boxed{0.5}."},
    {"kind": "math", "gold": "(1, 2] \\cup \\{3\\}", "response": "The answer is $(1,2]\\cup\\{3\\}$"},
    {"kind": "math", "gold": "x^2+2x+1", "response": "\\boxed{(x+1)^{2}} #### 5 \\sqrt{2}\\pi e^{i}"},
    {"kind": "choice", "gold": "B", "options": ["red", "green", "blue", "12"], "response": "Answer: (B) green"},
    {"kind": "countdown", "numbers": [3, 4, 7], "target": 84, "response": "<answer>(3*4)*7</answer>"},
    {"kind": "knights", "gold": {"Ann": True, "Bob": False}, "response": "Ann is a knight, and Bob is a knave."},
    {"kind": "ifeval", "constraints": [{"id": "length_constraints:number_sentences", "relation": "at least",
     "num_sentences": 2},
                                       {"id": "detectable_format:title"},
                                        {"id": "detectable_format:number_highlighted_sections", "num_highlights": 1}],
     "response": "<<Song>>\n*La* la. So it is!"},
    {"kind": "json", "constraints": {"type": "object", "properties": {"a": {"type": "array",
     "items": {"pattern": "^(a+)+$"}}}},
     "response": '```json\n{"a": ["aaaa", "b"]}\n```'},
    {"kind": "format", "response": "<think>why</think> because"},
    {"kind": "language", "gold": "en",
     "response": "<think>Let us think about this. 首先我们想一想。 Alors on pense.</think> $x$"},
    {"kind": "exact", "gold": "Paris", "response": "The answer is **Paris**."},
    {"kind": "fuzzy", "gold": "a big red fox", "response": "\\boxed{the big red fox}"},
]  # fmt: skip
CODE_SEEDS: list[dict[str, Any]] = [
    {"kind": "code", "mode": "assert", "tests": ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"],
     "response": PROGRAM},
    {"kind": "code", "mode": "call", "tests": [[[1, 2], 3], [[[1], [2]], [1, 2]]], "response": PROGRAM},
    {"kind": "code", "mode": "stdin", "tests": [{"input": "2 3\n", "output": "6"}],
     "response": "```python\na, b = map(int, input().split())\nprint(a * b)\n```"},
]  # fmt: skip
PIECES = [
    *"{}[]()<>\\$^_+-*/=!,.;:|\"'`#%&~ \n\t0123456789aexπ∞½五，。（）\u200b\u202e\ud800\0",
    *("\\boxed{", "\\frac{", "\\sqrt{", "\\left(", "</think>", "<think>", "<answer>", "</answer>", "```", "```json",
    "####", "10^{99}", "9**9**9"),
    *("Ann is a knave", " or ", "(C)", "the answer is ", "答案是", "NaN", "1e999", "null", "<<", ">>", "***",
    "\\begin{pmatrix}", "\\cup", "import os\n"),
]  # fmt: skip


def mutants(count: int, seed: int = 0, code: bool = False) -> Iterator[str]:
    """Yield lines for `r1kit grade`: seeds with a damaged response, and some with a damaged gold answer or line."""
    rng = Random(seed)
    seeds = SEEDS + CODE_SEEDS * code
    for path in filter(Path.is_file, (VECTORS, SHARED_VECTORS)):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        seeds = seeds + [row for row in rows if row["kind"] in ("math", "format")]
    for _ in range(count):
        row = dict(rng.choice(seeds))
        field = "gold" if isinstance(row.get("gold"), str) and rng.random() < 0.1 else "response"
        row[field] = mutate(row[field], rng)
        line = json.dumps(row)
        if rng.random() < 0.03:  # keep it one line of valid UTF-8
            line = mutate(line, rng).replace("\n", " ").replace("\r", " ").encode(errors="replace").decode()
        yield line


def mutate(text: str, rng: Random) -> str:
    """Return the text after one to six random insertions, deletions, repetitions or reversals."""
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 1, 3, 10, 40)))
        piece = rng.choice(PIECES)
        middle = rng.choice(
            (piece, "", text[start:end] * 2, text[start:end][::-1], piece * rng.choice((2, 30, 3_000)),
             text[start:end] * rng.choice((3, 400)))
        )  # fmt: skip
        text = (text[:start] + middle + text[end:])[:30_000]
    return text


def resident_megabytes() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def sweep(count: int, workers: int, seed: int) -> int:
    """Grade `count` mutants and return how many verdicts were slow or differed."""
    faults, slowest = 0, 0.0
    block = max(1, count // 20)
    for number in range(0, count, block):
        lines = list(mutants(min(block, count - number), seed + number, code=True))
        out = io.BytesIO()
        grade_stream(io.BytesIO("".join(line + "\n" for line in lines).encode()), out, workers)
        verdicts = [json.loads(line) for line in out.getvalue().splitlines()]
        expected: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda lines=lines, expected=expected: expected.extend(map(grade_line, lines)))
        thread.start()
        thread.join()
        for line, verdict, other in zip(lines, verdicts, expected, strict=True):
            slowest = max(slowest, verdict["ms"])
            if verdict["ms"] > 1000 or {**verdict, "ms": 0} != json.loads(json.dumps({**other, "ms": 0})):
                faults += 1
                print(f"FAULT {verdict} against {other}\n  {line[:500]}", file=sys.stderr)
        memory = resident_megabytes()
        print(
            f"{number + len(lines)} of {count}: {faults} faults, slowest {slowest:.0f} ms, {memory:.0f} MB", flush=True
        )
    return faults


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.monotonic()
    faults = sweep(options.n, options.workers, options.seed)
    print(f"{faults} faults in {options.n} mutated responses, {time.monotonic() - start:.0f} s")
    sys.exit(bool(faults))

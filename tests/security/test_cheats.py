"""Cheating programs earn no reward, and correct programs of unusual form do. The programs are in cheats/*.txt.

Set `R1KIT_TEST_SANDBOX=namespaces` (or landlock, wasm) to run them in that tier.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from public_data import fixture_and_shared

from r1kit.rewards import code
from r1kit.rewards.sandbox.base import Limits

LIMITS = Limits(fuel=2_000_000_000, cpu_seconds=0.5, memory_bytes=256 << 20, output_bytes=1 << 20)
ADDED = [([1, 2], 3), ([5, 7], 12), ([-4, 9], 5)]
FUNCTION_TESTS = {
    "call": [[args, result] for args, result in ADDED],
    "assert": [f"assert add({a}, {b}) == {result}" for (a, b), result in ADDED],
    "replayed assert": [
        "assert abs(add(1, 2) - 3) < 1e-9",
        "assert sorted([add(5, 7), add(-4, 9)]) == [5, 12]",
        "x = add(-4, 9)\nassert x is not None and x == 5",
        "assert 12 in [add(5, 7)]",
        "assert not add(1, 2) != 3",
        "assert {add(1, 2)} == {3} and isinstance(add(1, 2), int)",
        "def check(f):\n    for a, b, c in (1, 2, 3), (5, 7, 12):\n        assert math.isclose(f(a, b), c)\ncheck(add)",
    ],
}
STDIN_TESTS = [{"input": f"{a} {b}\n", "output": f"{result}\n"} for (a, b), result in ADDED]


def programs(file: str) -> Iterator[tuple[str, str]]:
    text = (Path(__file__).parent / "cheats" / file).read_text(encoding="utf-8")
    for block in text.split("\n== ")[1:]:
        title, _, program = block.partition("\n")
        yield title, program


def rewarded(file: str, tests: list, mode: code.Mode, sandbox) -> list[str]:
    """Return the cheats that passed, that passed a test without knowing a constant answer, or that were not judged."""
    faults = []
    for title, program in programs(file):
        verdict = code.grade_program(f"```python\n{program}\n```", tests, mode, sandbox, function="add", limits=LIMITS)
        if verdict.status in ("right", "infra_error") or (verdict.value and not title.endswith("[constant]")):
            faults.append(f"{title}: {verdict.status} {verdict.value:.2f}, {verdict.reason}")
    return faults


@pytest.mark.slow
@pytest.mark.parametrize("kind", FUNCTION_TESTS)
def test_cheating_functions_earn_nothing(kind, sandbox):
    assert sum(1 for _ in programs("function.txt")) >= 60
    assert rewarded("function.txt", FUNCTION_TESTS[kind], "call" if kind == "call" else "assert", sandbox) == []


def test_cheating_programs_earn_nothing(sandbox):
    assert sum(1 for _ in programs("stdin.txt")) >= 40
    assert rewarded("stdin.txt", STDIN_TESTS, "stdin", sandbox) == []


def test_correct_solutions_pass_the_same_tests(sandbox):
    """Otherwise the two tests above could not fail."""
    right = "def add(a, b): return a + b"
    for kind, tests in FUNCTION_TESTS.items():
        mode = "call" if kind == "call" else "assert"
        assert code.grade_program(right, tests, mode, sandbox, function="add").value == 1
    assert code.grade_program("print(sum(map(int, input().split())))", STDIN_TESTS, "stdin", sandbox).value == 1


def test_every_honest_program_is_rewarded(sandbox):
    refused, count = [], 0
    for title, text in programs("honest.txt"):
        lines = text.split("\n")
        tests = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
        program = "\n".join(line for line in lines if not line.startswith("> "))
        mode, _, function = title.rpartition("[")[2].rstrip("]").partition(": ")
        tests = [t.replace("\\n", "\n") for t in tests] if mode == "assert" else [json.loads(t) for t in tests]
        verdict = code.grade_program(f"```python\n{program}\n```", tests, mode, sandbox, function=function or None)
        count += 1
        if verdict.status != "right" or verdict.value != 1:
            refused.append(f"{title}: {verdict.status}, {verdict.reason}")
    assert count >= 30 and refused == []


@fixture_and_shared("security", "vectors/adversarial.jsonl")
def test_adversarial_responses_get_the_expected_verdict(path, sandbox):
    rows = map(json.loads, path.open(encoding="utf-8"))
    cases = [row for row in rows if row["kind"] == "code_cheat" and row["policy"] == "must"]
    wrong = []
    for row in cases:
        verdict = code.grade_program(row["response"], row["gold"], None, sandbox, problem=row["prompt"], limits=LIMITS)
        if (verdict.status == "right") != row["expected"] or verdict.masked:
            wrong.append(f"{row['name']}: {verdict}")
    assert len(cases) >= 10 and wrong == []

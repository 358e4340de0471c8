"""Reference programs of public data sets pass their tests, and altered ones fail.

Tests a sample of each data set; R1KIT_TEST_ALL=1 tests all rows.
"""

from __future__ import annotations

import json
import re

from public_data import fixture_and_shared

from r1kit.rewards import code
from r1kit.rewards.code import cruxeval
from r1kit.rewards.sandbox.base import Limits

# Task 123 of MBPP takes two seconds of native time.
LIMITS = Limits(fuel=100_000_000_000, cpu_seconds=10)
# Replaces the function `{name}` by one that returns another value; recursive calls keep the right value, as errors in
# them could cancel out.
ALTERED = """
def _altered(right):
    def wrong(*args, **kwargs):
        if wrong.inside: return right(*args, **kwargs)
        wrong.inside = True
        value = right(*args, **kwargs)
        wrong.inside = False
        kind = type(value)
        if kind is bool: return not value
        if kind in (int, float): return value + 1
        if kind is str: return value + "x"
        if kind in (list, tuple): return kind([*value, 7])
        return 7 if value is None or not hasattr(value, "val") else type(value)(value.val + 1)
    wrong.inside = False
    return wrong
{name} = _altered({name})
"""


def mbpp(row: dict) -> tuple:
    tests = ([row["test_setup_code"]] if row["test_setup_code"] else []) + row["test_list"]
    called = re.findall(r"(\w+)\s*\(", row["test_list"][0])
    return row["code"], tests, None, next(name for name in called if re.search(rf"def {name}\b", row["code"]))


def humaneval(row: dict) -> tuple:
    return row["prompt"] + row["canonical_solution"], [row["test"]], row["entry_point"], row["entry_point"]


def leetcode(row: dict) -> tuple:
    method = row["tests"]["functional"].rsplit("Solution().", 1)[1].rstrip(") \n")
    return row["solutions"], row["tests"], None, f"Solution.{method}"


READERS = {"mbpp.jsonl": (mbpp, 60), "humaneval.jsonl": (humaneval, 40), "train.jsonl": (leetcode, 60)}
OPTIONAL = {"numpy", "sortedcontainers"}  # packages that a sandbox tier may lack


@fixture_and_shared("rewards", "mbpp/mbpp.jsonl", "humaneval/humaneval.jsonl", "leetcode/train.jsonl")
def test_reference_programs_are_right_and_altered_ones_wrong(path, sandbox, sampled):
    read, count = READERS[path.name]
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    faults = []
    for row in sampled(rows, count):
        program, tests, entry, function = read(row)
        right = code.grade_program(program, tests, "assert", sandbox, function=entry, limits=LIMITS)
        if right.status != "right" and not any(f"No module named {package!r}" in right.reason for package in OPTIONAL):
            faults.append(f"{program[:80]!r}: {right.status}, {right.reason}")
        altered = program + ALTERED.format(name=function)
        wrong = code.grade_program(altered, tests, "assert", sandbox, function=entry, limits=LIMITS)
        if wrong.status != "wrong":
            faults.append(f"altered {program[:80]!r}: {wrong.status}, {wrong.reason}")
    assert faults == []


@fixture_and_shared("rewards", "cruxeval/cruxeval.jsonl")
def test_reference_predictions_are_right_and_others_wrong(path, sandbox, sampled):
    rows = sampled([json.loads(line) for line in path.open(encoding="utf-8")], 60)
    faults = []
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        program = {"program": row["code"], "sandbox": sandbox}
        given, wrong_output = f"[ANSWER]f({row['input']})[/ANSWER]", "['no', 'such', 'value']"
        checks = {
            "output": (cruxeval.grade(f"<answer>{row['output']}</answer>", "output", row["output"]), "right"),
            "input": (cruxeval.grade(given, "input", row["output"], **program), "right"),
            "input, other output": (cruxeval.grade(given, "input", wrong_output, **program), "wrong"),
        }
        if other["output"] != row["output"]:
            checks["other output"] = (cruxeval.grade(other["output"], "output", row["output"]), "wrong")
        faults += [f"{row['id']} {what}: {got}" for what, (got, status) in checks.items() if got.status != status]
    assert faults == []

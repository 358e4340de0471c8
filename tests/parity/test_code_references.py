"""Published programs pass their published tests, and off by one they do not. A sample; all with R1KIT_TEST_ALL=1."""

from __future__ import annotations

import json
import re

import pytest

from r1kit.rewards import code
from r1kit.rewards.code import cruxeval
from r1kit.rewards.sandbox.base import Limits

# MBPP 123 sums divisors for two seconds of native time.
LIMITS = Limits(fuel=100_000_000_000, cpu_seconds=10)
# In place of the function `{name}`, one that returns something else; not where it calls itself, as that can cancel out.
SPOILED = """
def _spoiled(right):
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
{name} = _spoiled({name})
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


SETS = {
    "mbpp": ("mbpp/mbpp.jsonl", mbpp, 60),
    "humaneval": ("humaneval/humaneval.jsonl", humaneval, 40),
    "leetcode": ("leetcode/train.jsonl", leetcode, 60),
}
BEYOND = {"numpy", "sortedcontainers"}  # packages that a tier may lack


@pytest.mark.parametrize("name", SETS)
def test_references_are_right_and_spoiled_ones_wrong(name, shared_data, sandbox, sampled):
    path, read, count = SETS[name]
    rows = [json.loads(line) for line in (shared_data / path).open(encoding="utf-8")]
    faults = []
    for row in sampled(rows, count):
        program, tests, entry, function = read(row)
        right = code.grade_program(program, tests, "assert", sandbox, function=entry, limits=LIMITS)
        if right.status != "right" and not any(f"No module named {package!r}" in right.reason for package in BEYOND):
            faults.append(f"{program[:80]!r}: {right.status}, {right.reason}")
        wrong = code.grade_program(
            program + SPOILED.format(name=function), tests, "assert", sandbox, function=entry, limits=LIMITS
        )
        if wrong.status != "wrong":
            faults.append(f"spoiled {program[:80]!r}: {wrong.status}, {wrong.reason}")
    assert faults == []


def test_cruxeval_references(shared_data, sandbox, sampled):
    rows = [json.loads(line) for line in (shared_data / "cruxeval" / "cruxeval.jsonl").open(encoding="utf-8")]
    faults = []
    rows = sampled(rows, 60)
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        known = {"program": row["code"], "sandbox": sandbox}
        given, wrong_output = f"[ANSWER]f({row['input']})[/ANSWER]", "['no', 'such', 'value']"
        checks = {
            "output": (cruxeval.grade(f"<answer>{row['output']}</answer>", "output", row["output"]), "right"),
            "input": (cruxeval.grade(given, "input", row["output"], **known), "right"),
            "input, other output": (cruxeval.grade(given, "input", wrong_output, **known), "wrong"),
        }
        if other["output"] != row["output"]:
            checks["other output"] = (cruxeval.grade(other["output"], "output", row["output"]), "wrong")
        faults += [f"{row['id']} {what}: {got}" for what, (got, status) in checks.items() if got.status != status]
    assert faults == []

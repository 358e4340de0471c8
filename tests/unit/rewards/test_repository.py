"""The verifier `repository`: changes are applied and judged by hidden tests, which nothing in them can influence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from r1kit.data.worlds import world_problems
from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.grade_file import grade_line
from r1kit.rewards.sandbox import TIERS, open_sandbox
from r1kit.rewards.sandbox.base import Sandbox
from r1kit.rewards.score import grade
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

FILES = {
    "shop/cart.py": "from shop.prices import PRICES\n\n\ndef total(items):\n    return 0\n",
    "shop/prices.py": "PRICES = {'a': 2}\n",
}
TESTS = [
    "from shop.cart import total\nassert total([]) == 0",
    "assert total(['a', 'a']) == 4\nassert total(['a']) == 2",
]
RIGHT = "    return sum(PRICES[item] for item in items)"


def answer(new: str = RIGHT, old: str = "    return 0", path: str = "shop/cart.py") -> str:
    return f"### {path}\n```python\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n```"


def verdict_on(reply: str, tests: Any = TESTS, files: Any = FILES, **extra: Any) -> Verdict:
    problem = Problem("p", "q", "", "repository", extra={"files": files, "tests": tests, **extra})
    return grade(problem, reply, answer_tags=False)


@pytest.fixture(autouse=True)
def this_sandbox(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "sandbox", lambda: sandbox)


def test_the_value_is_the_share_of_failing_tests_that_are_repaired() -> None:
    right = verdict_on(f"<think>\nThe total is 0.\n</think>\n{answer()}")
    assert (right.status, right.value, right.extracted) == ("right", 1.0, "changed shop/cart.py")
    assert verdict_on(f"<answer>{answer()}</answer>").status == "right"
    wrong = verdict_on(answer("    return 2 * bool(items)"))
    assert (wrong.status, wrong.value) == ("wrong", pytest.approx(1 / 2)), "one of two"
    assert verdict_on("### new.py\n```python\nx = 1\n```").value == 0, "as it was"
    assert verdict_on(answer("    return 2 + 0 * len(items)")).value == 0, "repairs one, breaks one"


@pytest.mark.parametrize(
    ("reply", "status", "reason"),
    [
        ("I do not know.", "unparseable", "no change found"),
        ("<think>\n" + answer(), "unparseable", "no answer"),
        (answer(old="    return 1"), "unparseable", "are not in the file"),
        (answer("    return ("), "unparseable", "SyntaxError"),
        (answer("    return '\ud800'"), "wrong", "surrogates not allowed"),
        (answer("    while True: pass"), "over_limit", ""),
        ("### shop/cart.py\n```python\ntotals = 1\n```", "wrong", "ImportError"),
    ],
)
def test_other_verdicts(reply: str, status: str, reason: str) -> None:
    verdict = verdict_on(reply, seconds=1)
    assert verdict.status == status and reason in verdict.reason, verdict


@pytest.mark.parametrize(
    "cheat",
    [
        "class Same(int):\n    def __eq__(self, other): return True\ndef total(items): return Same(1)",
        "import sys\ndef total(items): sys.exit(0)",
        "import builtins, unittest\nbuiltins.AssertionError = ValueError\ndef total(items): return 1",
        "import gc\ndef total(items): return next((x for x in gc.get_objects() if x == 4), 1)",
    ],
)
def test_changes_cannot_pass_tests_that_they_do_not_fulfil(cheat: str) -> None:
    assert verdict_on(f"### shop/cart.py\n```python\n{cheat}\n```").status != "right"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"files": {}}, "files must be an object of texts"),
        ({"files": {"a.py": 1}}, "files must be an object of texts"),
        ({"tests": []}, "tests must be a list of Python programs"),
        ({"tests": ["assert ("]}, "a test is not valid Python"),
        ({"tests": ["from shop.cart import total"]}, "tests"),
        ({"seconds": 1000}, "seconds = 1000: must be a number above 0, at most 120"),
    ],
)
def test_unusable_problems_are_masked(given: dict[str, Any], reason: str) -> None:
    verdict = verdict_on(answer(), **given)
    assert verdict.masked and reason in verdict.reason, verdict


def test_a_row_of_r1kit_grade() -> None:
    row = {"kind": "repository", "files": FILES, "tests": TESTS, "response": answer()}
    assert grade_line(json.dumps(row))["correct"] is True
    assert grade_line(json.dumps({**row, "files": None}))["correct"] is None


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        sandbox = open_sandbox(request.param)
    except UserError as error:
        pytest.skip(str(error))
    yield sandbox
    sandbox.close()


@pytest.mark.slow
def test_every_tier_judges_alike(tier: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "sandbox", lambda: tier)
    for problem in world_problems("repositories", "held_out"):
        assert grade(problem, problem.answer).status == "right", problem.question
        assert grade(problem, "### unrelated.py\n```python\nx = 1\n```").status == "wrong", problem.question


@pytest.mark.slow
@pytest.mark.parametrize("problem", world_problems("repositories"), ids=lambda problem: problem.question[:40])
def test_reference_answers_pass_and_unchanged_repositories_fail(problem: Problem) -> None:
    assert grade(problem, problem.answer).status == "right"
    unchanged = grade(problem, "### unrelated.py\n```python\nx = 1\n```")
    assert unchanged.status in ("wrong", "over_limit") and unchanged.value < 1

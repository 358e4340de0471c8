"""Code verifiers: extraction of the program, comparison of results, and parsing of the tests."""

from __future__ import annotations

import time

import pytest

from r1kit import integers
from r1kit.rewards import code
from r1kit.rewards.code import cruxeval, syntax
from r1kit.rewards.code.asserts import Call, TestsError, plain_calls, split
from r1kit.rewards.code.compare import same_json, same_output, shown
from r1kit.rewards.code.program import LEETCODE, entry_point, extract, runnable
from r1kit.rewards.code.testcases import TestCase, propose_inputs, select_tests, smallest_cover, valid_tests
from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.base import Limits
from r1kit.rewards.sandbox.guest import remote

DRAFT = "```python\ndraft = 1\n```"


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("x = 1", "x = 1\n"),
        ("Sure:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        (f"{DRAFT}\nbetter:\n```py\nx = 2\n```", "x = 2\n"),
        (f"<think>{DRAFT}</think>\n```\nx = 3\n```\n", "x = 3\n"),
        (f"<think>{DRAFT}</think>x = 4", "x = 4\n"),
        (f"{DRAFT}<answer>```python\nx = 5\n```</answer>", "x = 5\n"),
        ("<answer>x = 6</answer>", "x = 6\n"),
        ("```python\nx = 7\n```\nwhich prints\n```\n7\n```", "x = 7\n"),
        ("```python\nx = 8", "x = 8\n"),
        ("```python\r\nx = 9\r\n```", "x = 9\r\n"),
        ('```python\nx = """\n  ``` inside\n"""  # ```\n```', 'x = """\n'),
        ("1. so\n   ```python\n   if x:\n       y\n   ```", "if x:\n    y\n"),
        ("```cpp\nint x;\n```", None),
        (f"<think>{DRAFT}", None),
        ("", None),
        ("```python\n```", None),
    ],
)
def test_the_program_is_extracted_from_a_response(response, program):
    assert extract(response) == program


def test_a_program_inside_the_thinking_is_ignored():
    assert extract(DRAFT, think_open=True) is None
    assert extract("draft</think>x = 1", think_open=True) == "x = 1\n"


def test_the_entry_point_is_the_named_or_last_function():
    helpers = "def helper(x): ...\ndef area(r): ...\ndef main(): ...\n"
    assert entry_point(helpers) == "area"
    assert entry_point(helpers, "Write helper(x), used by others") == "helper"
    assert entry_point("f = lambda x: x") == "f" and entry_point("x = 1") is None
    solution = "class Solution:\n    def __init__(self): ...\n    def two(self): ...\n    def _own(self): ...\n"
    assert entry_point(solution) == "Solution().two"


USAGE = "```python\nprint(f(2))\n```"


@pytest.mark.parametrize(
    ("response", "names", "program"),
    [
        (f"```python\ndef f(x): ...\n```\n{USAGE}", ("f",), "def f(x): ...\n"),
        (f"```python\ndef f(x): ...\n```\n{USAGE}", (), "def f(x): ...\n"),
        (f"```python\ndef f(x): ...\n```\n{USAGE}", None, "print(f(2))\n"),
        ("```\ndef f(): 1\n```\n```\ndef f(): 2\n```", ("f",), "def f(): 2\n"),
        ("```\nimport re\n```\n```\ndef f(): re\n```", ("f",), "import re\n\ndef f(): re\n"),
        ("```\ndef f(): g()\n```\n```\ndef g(): 1\n```", ("f",), "def f(): g()\n\ndef g(): 1\n"),
        ("```\ng = print\n```\n```\ndef f(g): g()\n```", ("f",), "def f(g): g()\n"),
        ("```\nclass Solution:\n    def f(self): 1\n```\n```\ns = Solution().f()\n```", ("f",),
         "class Solution:\n    def f(self): 1\n"),
        ("```\nprint(input())\n```\n```\nprint(3)\n```", None, "print(input())\n"),
    ],
)  # fmt: skip
def test_the_block_that_the_tests_need_counts(response, names, program):
    assert extract(response, names=names) == program


@pytest.mark.slow
@pytest.mark.parametrize("part", ["```\n", "~~~", "x = ", "def f(", '"', "for a ", "import (", "> ", "is ", " ", "a, "])
def test_extraction_takes_linear_time(part):
    def seconds(size):
        text = f"```python\ndef g(): 1\n```\n```python\n{part * (size // len(part))}"
        start = time.process_time()
        for _ in range(3):
            extract(text, names=("f",))
            cruxeval.extract(text)
        return time.process_time() - start

    assert seconds(80_000) < 40 * seconds(8_000) + 0.3


def test_integers_of_any_practical_length_are_read_and_written():
    text = "7" * 6_000
    value = integers.read(text)
    assert value % 10**9 == 777_777_777 and integers.write(-value) == "-" + text
    tree = syntax.parse(f"x = {text}; y = '{text}'")
    scope: dict = {}
    exec(syntax.unparse(tree), scope)
    assert scope["x"] == value and scope["y"] == text
    with pytest.raises(ValueError, match="at most 50000"):
        integers.read("7" * 60_000)
    with pytest.raises(ValueError, match="at most"):
        integers.write(1 << 10**7)


def test_leetcode_imports_follow_future_imports():
    assert runnable("def f(): ...") == "def f(): ..."
    assert runnable("from __future__ import annotations\nclass Solution: ...").split("\n")[1] + "\n" == LEETCODE


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        (3, 3, True), (3, 3.0, True), (3, True, False), (1, True, False), (True, True, True), (True, 1, False),
        (0.3, 0.1 + 0.2, True), (0.3, 0.3001, False), (3, 3.0000000001, False), (float("nan"), float("nan"), False),
        ([1, 2], (1, 2), True), ([[1], [2]], [(1,), (2,)], True), ([1, 2], {1, 2}, False), ([1], [1, 1], False),
        ({"1": 2}, {1: 2}, True), ({"a": [1]}, {"a": (1,)}, True), ({"a": 1}, {"b": 1}, False), ({}, [], False),
        ("a", "a", True), ("1", 1, False), (None, None, True), (None, 0, False), (10**40, 10**40, True),
    ],
)  # fmt: skip
def test_call_results_compare_as_json(expected, got, same):
    assert same_json(expected, got) is same


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("1 2\n3", "1 2 \n3\n\n", True), ("1 2", "1\n2", False), ("a\n\nb", "a\nb", True), ("a b", "ab", False),
        ("0.5", ".50", True), ("0.3333333", "0.33333334", True), ("0.33", "0.34", False), ("3", "3.0", False),
        ("3.0", "3", True), ("1e3", "1000", True), ("nan", "nan", True), ("0.5", "nan", False), ("1.0", "inf", False),
        ("1.5", "1_.5", False), ("1.5", "１.5", False), ("", "", True), ("Yes", "yes", False),
        ("1.0", "1" + "0" * 500, False), ("a\r\nb\r\n", "a\nb", True),
    ],
)  # fmt: skip
def test_printed_results_compare_word_by_word(expected, got, same):
    assert same_output(expected, got) is same


def test_long_values_are_shortened_in_reasons():
    assert "too long to show" in shown([1 << 100_000]) and len(shown(list(range(10**6)))) < 200
    assert shown("x" * 10**6) == repr("x" * 120)[:117] + "..."


def test_plain_assertions_become_calls():
    assert plain_calls(("assert f(1, k='x') == [2]", "assert Solution().g(-1) == (1,)")) == (
        Call("f", (1,), {"k": "x"}, [2]),
        Call("Solution().g", (-1,), {}, (1,)),
    )
    check = '"""doc"""\nMETADATA = {}\ndef check(candidate):\n    assert True\n    assert candidate(2) == 4, "no"\n'
    assert plain_calls((check,), "double") == plain_calls((check + "check(double)",)) == (Call("double", (2,), {}, 4),)
    for other in (
        "assert f(1)",
        "assert f(1) is True",
        "assert f(x) == 1",
        "x = 1\nassert f(1) == 1",
        "assert 1 == f(1)",
    ):
        assert plain_calls((other,)) is None


def test_split_finds_the_names_of_the_program():
    assert split(("assert abs(f(2) - math.pi) < 1e-6 and isclose(f(1), 1)",)).names == ("f",)
    assert split(("def g(x): return x", "assert sorted(f(g(1))) == [h]")).names == ("f", "h")
    assert split(("assert not gcd(3, 4) != 1",)).names == ("gcd",)
    assert split(("assert abs(-3) == 3", "assert sum(1, 2) == 3")).names == ("abs", "sum")
    assert split(("def check(c):\n    assert max(c(1), 2) == 2",), "max").names == ("max",)
    for unusable in ("assert 1", "def f(:"):
        with pytest.raises(TestsError):
            split((unusable,))


def test_values_of_subclasses_are_packed_as_base_types():
    class Odd(int):
        __pos__ = __int__ = __index__ = lambda self: 12

    class Text(str):
        __str__ = lambda self: "other"  # noqa: E731

    for value, packed in ((Odd(3), 3), (Text("a"), "a"), ([Odd(1)], [1])):
        crossed = remote.pack(value, lambda other: pytest.fail(f"{other} was not packed"))
        assert codec.same(packed, crossed)
    for value in (b"\xff", 1 + 2j, range(3), bytearray(b"a"), {"k": (b"v", {1.5, None})}):
        packed = remote.pack(value, lambda other: pytest.fail(f"{other} was not packed"))
        assert codec.same(codec.decode(codec.encode(packed)), packed)
        again = remote.unpack(packed, lambda *tag: pytest.fail(f"unknown tag {tag}"))
        assert again == value and type(again) is type(value)


SQUARE = "def f(x): return x * x"


@pytest.fixture
def verdict(sandbox):
    """Return a function that grades a program with the mode inferred from the tests."""
    return lambda program, tests, **options: code.grade_program(program, tests, None, sandbox, **options)


def test_the_value_is_the_share_of_passed_tests(verdict):
    tests = ["assert f(1) == 1", "assert f(2) == 4", "assert f(3) == 9", "assert f(4) == 16"]
    half = verdict("def f(x): return {1: 1, 2: 4}[x]", tests)
    assert (half.value, half.status) == (0.5, "wrong")
    assert "KeyError" in half.reason
    assert verdict(SQUARE, tests).status == "right"
    lines = [{"input": "2", "output": "4"}, {"input": "3", "output": "9"}]
    assert verdict("x = int(input())\nprint(4)", lines).value == 0.5


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def f(x) return x", "unparseable"),
        ("I do not know.", "unparseable"),
        ("x = '" + "a" * 200_000 + "'", "over_limit"),
        ("x = '\ud800'", "unparseable"),
    ],
    ids=["syntax error", "prose", "too long", "surrogate"],
)
def test_unusable_programs_have_their_own_status(program, status, verdict):
    assert verdict(program, ["assert f(1) == 1"]).status == status


@pytest.mark.parametrize("tests", [["assert f(", "assert f(1) == 1"], ["assert 1 == 1"], [], [{"input": "1"}]], ids=str)
def test_unusable_tests_mask_the_sample(tests, verdict):
    assert verdict(SQUARE, tests).masked


@pytest.mark.parametrize(
    ("program", "tests", "status"),
    [
        ("print(int(input()) ** 2)", {"inputs": ["2", "3"], "outputs": ["4", "9"]}, "right"),
        ("def f(x): return x", {"inputs": [[1]], "outputs": [1], "fn_name": "f"}, "right"),
        (SQUARE, {"test": "def check(c):\n    assert c(3) == 9", "entry_point": "f"}, "right"),
        (SQUARE, "def check(c):\n    assert abs(c(3) - 9) < 1e-6", "right"),
        ("def abs(x): return 0", "def check(c):\n    assert abs(c(3) - 9) < 1e-6", "unparseable"),
    ],
)
def test_tests_have_the_forms_of_public_data_sets(program, tests, status, verdict):
    assert verdict(program, tests).status == status


def test_call_arguments_may_be_one_json_text_per_line(sandbox):
    tests = [{"input": "1\n[2]", "output": "[1, [2]]"}]  # as LiveCodeBench has them
    assert code.grade_program("f = lambda a, b: [a, b]", tests, "call", sandbox).status == "right"


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ({"args": [1]}, "no key 'expected' or 'output'"),
        ({"expected": None}, "no key 'args' or 'input'"),
        ([[1]], "must be {"),
        ({"input": "1\n[2", "output": "1"}, "must be JSON"),
    ],
)
def test_a_call_test_without_its_parts_says_which(test, reason, sandbox):
    verdict = code.grade_program(SQUARE, [test], "call", sandbox)
    assert verdict.masked and reason in verdict.reason


def test_the_output_of_a_stdin_test_must_be_a_text(sandbox):
    verdict = code.grade_program("print(None)", [{"input": "", "output": None}], "stdin", sandbox)
    assert verdict.masked and "null" in verdict.reason


def test_a_method_of_solution_is_called_on_a_new_instance(verdict):
    solution = "class Solution:\n    n = 0\n    def f(self, x):\n        self.n += x\n        return self.n"
    assert verdict(solution, [[[2], 2], [[3], 3]], function="f").status == "right"
    assert verdict(solution, ["assert f(2) + f(3) == 5"]).status == "right"
    assert verdict(SQUARE, [[[2], 4]], function="Solution().f").status == "right"
    assert verdict(solution.replace("Solution", "Other"), [[[2], 2]], function="f").value == 0


def test_long_integers_stop_at_the_limits_of_a_program(sandbox):
    long = "def f(n):\n    return len(str(1 << n))"
    limits = Limits(fuel=2_000_000_000, cpu_seconds=0.5)
    assert code.grade_program(long, [[[10**7], 1]], "call", sandbox, limits=limits).status == "over_limit"
    key = "def f(n):\n    return {1 << n: 1}"
    assert code.grade_program(key, [[[10**6], {"1": 1}]], "call", sandbox).status == "wrong"


def test_a_program_over_its_limits_fails_the_remaining_tests(sandbox):
    slow = "x = int(input())\nwhile x > 1: pass\nprint(x)"
    tests = [{"input": str(x), "output": str(x)} for x in (0, 1, 2, 3)]
    verdict = code.grade_program(slow, tests, "stdin", sandbox, limits=Limits(fuel=500_000_000, cpu_seconds=0.5))
    assert (verdict.value, verdict.status) == (0.5, "over_limit")


def test_selected_tests_catch_every_catchable_program(sandbox):
    right = ["print(abs(int(input())))", "x = int(input())\nprint(x if x > 0 else -x)"]
    wrong = ["print(int(input()))", "print(-int(input()))", "print(abs(int(input())) if 1 else 0)", "print(0)"]
    inputs = propose_inputs(["print(5)", "print(-7)", "print(0)", "print('many')", "print(5)", "1/0"], sandbox)
    assert inputs == ["5\n", "-7\n", "0\n", "many\n"]
    assert valid_tests(inputs, right, sandbox) == [
        TestCase("5\n", "5\n"),
        TestCase("-7\n", "7\n"),
        TestCase("0\n", "0\n"),
    ]
    selection = select_tests(inputs, right, wrong, sandbox)
    assert [test.input for test in selection.tests] == ["5\n", "-7\n"] and selection.uncaught == (2,)


def test_the_cover_has_no_redundant_test():
    assert smallest_cover([frozenset(c) for c in ("ab", "cd", "ac", "", "abcd")]) == [4]
    assert smallest_cover([frozenset(c) for c in ("abc", "abd", "ce", "df")]) in ([0, 2, 3], [1, 2, 3])
    assert smallest_cover([]) == [] == smallest_cover([frozenset()])


@pytest.mark.parametrize(
    ("response", "output", "status"),
    [
        ("[ANSWER]f([1]) == [2, 'a'][/ANSWER]", "[2, 'a']", "right"),
        ("<think>[3]</think>\\boxed{\\{'a': 1\\}}", "{'a': 1}", "right"),
        ("The answer is: (1, 2)", "(1, 2)", "right"),
        ("```\n{3, 1}\n```", "{1, 3}", "right"), ("b'a'", "b'a'", "right"),
        ("[1, 2]", "(1, 2)", "wrong"), ("True", "1", "wrong"), ("1.0", "1", "wrong"), ("f(x)", "1", "unparseable"),
        ("a", "'a'", "unparseable"), ("__import__('os')", "1", "unparseable"), ("-" * 9000 + "1", "1", "unparseable"),
        ("(" * 9000, "1", "unparseable"), ("1" * 9000, "1", "wrong"), ("1" * 9000, "1" * 9000, "right"),
        ("0x" + "f" * 9000, "1", "wrong"),
        ("[" + "1, " * 9000 + "]", "1", "over_limit"), ("[ANSWER]1[/ANSWER] or [ANSWER]2[/ANSWER]", "2", "unparseable"),
        ("<think>1", "1", "unparseable"), ("1", "open('x')", "infra_error"),
    ],
)  # fmt: skip
def test_predicted_outputs_compare_by_exact_type(response, output, status):
    assert cruxeval.grade(response, "output", output).status == status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("2, [1]", "right"), ("f(2, [1])", "right"), ("assert f(2, [1]) == [1, 1]", "right"),
        ("x=2, y=list('1')", "wrong"),
        ("1, [1, 1]", "right"), ("2, [int(c) for c in '1']", "right"), ("2, KNOWN[:1]", "right"), ("2", "wrong"),
        ("10**9, [1]", "over_limit"), ("f, [1]", "unparseable"), ("2, open('x')", "unparseable"),
        ("2, (lambda: 0).__code__", "unparseable"), ("2, [1]) or ([1, 1]", "unparseable"), ("print", "unparseable"),
        ("2, setattr(f, 'x', 1)", "unparseable"), ("2, [y := [1]]", "unparseable"), ("2, f'{f}'", "unparseable"),
    ],
)  # fmt: skip
def test_predicted_inputs_run_as_arguments_of_f(answer, status, sandbox):
    program = "KNOWN = [1, 9]\ndef f(x, y):\n    return y * x"
    given = {"program": program, "sandbox": sandbox, "limits": Limits(memory_bytes=128 << 20)}
    assert cruxeval.grade(f"[ANSWER]{answer}[/ANSWER]", "input", "[1, 1]", **given).status == status

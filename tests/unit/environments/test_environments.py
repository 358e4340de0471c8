"""The environments of the table, environments of the user's own, and calls in threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from random import Random

import pytest

from r1kit.data.worlds import world_problems
from r1kit.environments.base import Message
from r1kit.environments.calculator import Calculator, result_of
from r1kit.environments.calls import Calls
from r1kit.environments.function import FunctionEnvironment
from r1kit.environments.guess import Guess
from r1kit.environments.named import ENVIRONMENTS, environment_named
from r1kit.environments.signatures import misfit_of_episode
from r1kit.errors import UserError
from r1kit.types import Problem

PROBLEM = Problem("p", "q", "37")


@pytest.mark.parametrize(
    ("turn", "result"),
    [
        ("so <calc>12*34</calc>", "<result>408</result>"),
        ("<calc>1</calc> <calc>2+2</calc>\n", "<result>4</result>"),
        ("<calc>1/0</calc>", "<result>error: division by zero</result>"),
        ("12*34</calc>", "<result>error: no <calc></result>"),
    ],
)
def test_calculator_answers_the_last_call(turn: str, result: str) -> None:
    assert result_of(turn) == result
    assert Calculator().start(PROBLEM, 0).step(turn) == Message(result)


def test_calculator_bounds_time_and_size() -> None:
    start = time.monotonic()
    for expression in ("9**9**9**9", "1" * 10_000_000, "(" * 900 + "1" + ")" * 900, "__import__('os')"):
        assert result_of(f"<calc>{expression}</calc>").startswith("<result>error: ")
    assert time.monotonic() - start < 5


def test_user_of_guess_tells_where_the_number_is() -> None:
    user = Guess().start(PROBLEM, 0)
    said = [user.step(turn) for turn in ("40", "from 1 to 40: 20", "no idea", "37")]
    assert said == [Message(text, "user") for text in ("lower", "higher", "Say a number.")] + [None]
    assert user.guessed and Guess().start(PROBLEM, 0).score() == 0


def test_guess_pays_for_what_the_guesses_tell() -> None:
    problem = Problem("p", "q", "37", extra={"bounds": (30, 45)})
    for turns, qualities in (
        ((), [0]),
        (("38", "34"), [1, 1]),
        (("30",), [0.3373 / 1.2718]),  # 1 of 16 numbers: 1/16 log2 16 + 15/16 log2 (16/15); halves: 7, 1 and 8 of 16
        (("9", "no", "38"), [0, 0, 1]),
        (("38", "37"), [1, 0.5436 / 1.4056]),  # the last of 8 tells little, though it is right
    ):
        user = Guess().start(problem, 0)
        for turn in turns:
            user.step(turn)
        assert user.score() == pytest.approx(sum(qualities) / len(qualities), abs=1e-3), turns


@pytest.mark.parametrize(("halves", "found"), [(True, 1.0), (False, 0.79)])
def test_halving_finds_every_number_and_guessing_at_random_does_not(halves: bool, found: float) -> None:
    """The shares stand in docs/environments.md."""
    rng, rights = Random(0), 0
    problems = 40 * world_problems("guess", "held_out", limit=150)
    for problem in problems:
        user = Guess().start(problem, 0)
        for _ in range(Guess.max_turns):
            low, high = user.low, user.high
            if user.step(str((low + high) // 2 if halves else rng.randint(low, high))) is None:
                rights += 1
                break
    assert rights / len(problems) == pytest.approx(found, abs=0 if halves else 0.015)


def test_own_environments_are_functions_classes_or_objects(tmp_path: Path) -> None:
    (tmp_path / "own_environments.py").write_text(
        "from r1kit.environments.guess import Guess\n"
        "def function(problem, turns): return None\n"
        "function.max_turns = 3\n"
        "made, number = Guess(), 5\n"
        "class Partial:\n    def start(self, problem, seed): ...\n"
        "class Failing:\n    def __init__(self): raise RuntimeError('no server')\n"
        "def text(problem, turns): return None\n"
        "text.stop = '</call>'\n"
        "def never(problem, turns): return None\n"
        "never.max_turns = 0\n"
        "def short(turns): return None\n"
        "class Seedless(Guess):\n    def start(self, problem): ...\n"
        "class Itself(Guess):\n    def start(self, problem, seed): return self\n"
        "    def step(self): ...\n    def score(self): ...\n    def close(self): ...\n"
        "class Free(Guess):\n    def start(self, *args): ...\n"
    )
    function = environment_named("own_environments:function", tmp_path)
    assert isinstance(function, FunctionEnvironment) and (function.stop, function.max_turns) == ((), 3)
    assert isinstance(environment_named("own_environments:Guess", tmp_path), Guess)
    assert isinstance(environment_named("own_environments:made", tmp_path), Guess)
    assert isinstance(environment_named("own_environments:Free", tmp_path), Guess)
    for name, message in (
        ("number", "must have start, or be a function"),
        ("Partial", "has no stop and no max_turns"),
        ("Failing", "cannot be made: RuntimeError: no server"),
        ("text", "stop = '</call>': must be a tuple or list of texts"),
        ("never", "max_turns = 0: must be an integer of at least 1"),
        ("short", r"environment own_environments:short has short\(turns\): must be short\(problem, turns\)"),
        ("Seedless", r"environment own_environments:Seedless has start\(problem\): must be start\(problem, seed\)"),
        ("Itself", r"has step\(\): must be step\(text\)"),
    ):
        with pytest.raises(UserError, match=message):
            environment_named(f"own_environments:{name}", tmp_path)
    assert {environment_named(name).max_turns for name in ENVIRONMENTS} == {6, 9}


def test_what_start_returns_must_be_an_episode() -> None:
    assert misfit_of_episode(Guess().start(PROBLEM, 0)) is None
    assert misfit_of_episode(None) == "must have step(text)"


def test_calls_share_threads_and_give_up_those_that_hang() -> None:
    calls: Calls[int] = Calls(seconds=1)
    release = threading.Event()
    calls.submit(-1, release.wait)
    before = threading.active_count()
    for number in range(500):
        calls.submit(number, lambda number=number: number * 2)
    outcomes = {}
    while calls.is_busy:
        outcomes |= {outcome.key: outcome for outcome in calls.collect(wait=True)}
    assert threading.active_count() - before <= 64
    assert [outcomes[number].value for number in range(500)] == [2 * number for number in range(500)]
    assert outcomes[-1].failure == "took longer than 1 seconds (reward_timeout)"
    release.set()
    calls.submit(7, lambda: "later")
    assert [(each.key, each.value) for each in calls.collect(wait=True)] == [(7, "later")]


def test_forgotten_calls_have_no_outcome() -> None:
    calls: Calls[int] = Calls(seconds=30)
    release = threading.Event()
    calls.submit(1, release.wait)
    calls.forget()
    release.set()
    calls.submit(2, lambda: 5)
    assert not calls.hung and [each.key for each in calls.collect(wait=True)] == [2] and not calls.is_busy

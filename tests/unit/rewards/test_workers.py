"""Grading in processes, with real deaths, hangs and faults."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from r1kit.errors import UserError
from r1kit.recipe import load_recipe
from r1kit.rewards.score import RewardError, ScoreRequest, check_reward_names
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import RewardPool
from r1kit.rewards.workers.processes import Lost, Pool
from r1kit.types import Problem

REWARDS = """
import os, signal, sys, time
from pathlib import Path

HERE = Path(__file__).parent

def length(problem, text):
    print("to nobody's answer")
    return float(len(text))

def deadly(problem, text):  # kills its process the first time it sees a text
    mark = HERE / f"seen-{text}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1

def always_deadly(problem, text): os.kill(os.getpid(), signal.SIGKILL)
def slow(problem, text): time.sleep(60 if text == "hang" else 0); return 1.0
def state(problem, text):
    return os.nice(0) * 2 + ("torch" in sys.modules) + 0.25 * (os.environ["OMP_NUM_THREADS"] == "1")

def odd(problem, text):
    does = {"raise": lambda: 1 / 0, "none": lambda: None, "nan": lambda: float("nan")}
    return does.get(text, lambda: 2)()

def one_argument(text): return 1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "beside.py").write_text(REWARDS)
    return Settings(folder=str(tmp_path))


def requests(function, texts):
    return [ScoreRequest(Problem(f"p{i}", "", "5"), text, {f"beside:{function}": 1.0}) for i, text in enumerate(texts)]


def totals(scores):
    return [None if score.masked else score.total for score in scores]


def test_scores_do_not_depend_on_how_many_work_or_on_who_dies(folder, tmp_path):
    texts = ["\\boxed{5}", "\\boxed{6}", "5", "", "<think>5", "\\boxed{2+3}", "\\boxed{5} 五"]
    asked = [ScoreRequest(Problem("p", "", "5"), text, {"accuracy": 1.0, "format": 0.5, "language": 0.1}) for text in texts]
    results = []
    for workers in (1, 3):
        with RewardPool(workers, settings=folder) as pool:
            results.append(pool.score_many(asked))
            report = pool.take_report()
            assert (
                report["grading/math/right"] == 2
                and report["grading/math/unparseable"] == 3
                and not report["time/grading/failed"]
            )
            assert report["time/grading/math"] > 0 and pool.take_report()["time/grading/restarts"] == 0
    assert results[0] == results[1]
    with RewardPool(2, settings=folder) as pool:
        assert totals(pool.score_many(requests("deadly", "abcdef"))) == [1.0] * 6, "asked once more, not lost"
        assert pool.take_report()["time/grading/restarts"] == 6


def test_what_was_begun_is_only_waited_for(folder):
    asked = [*requests("length", ["abc", "abc", "d"]), *requests("deadly", ["abc"])]
    with RewardPool(2, settings=folder) as pool:
        for request in reversed(asked[:3]):
            pool.begin(request)
        assert totals(pool.score_many(asked)) == [3.0, 3.0, 1.0, 1.0]
        assert sum(count for name, count in pool.take_report().items() if name.startswith("grading/")) == 4, "each once"


def test_what_dies_twice_or_hangs_is_masked_and_the_rest_goes_on(folder):
    with RewardPool(2, settings=replace(folder, timeout=4.0)) as pool:
        assert totals(pool.score_many(requests("slow", ["a", "hang", "b", "c"]))) == [1.0, None, 1.0, 1.0]
        [lost] = pool.score_many(requests("always_deadly", ["x"]))
        assert lost.masked and "died (exit code -9) on both tries" in lost.reason
        report = pool.take_report()
        assert report["grading/math/infra_error"] == 2 and report["time/grading/restarts"] == 3


def test_a_reward_that_fails_is_counted_and_stops_the_run_when_it_fails_often(folder):
    with RewardPool(1, settings=folder) as pool:
        scores = pool.score_many(requests("odd", ["fine", "raise", "none", "nan"]))
        assert totals(scores) == [2.0, None, None, None] and "division by zero" in scores[1].reason
        with pytest.raises(RewardError, match="(?s)8 of 9 .*1 / 0.*ZeroDivisionError"):
            pool.score_many(requests("odd", ["raise"] * 9))


def test_workers_are_polite_and_light(folder):
    with RewardPool(1, settings=folder) as pool:
        assert totals(pool.score_many(requests("state", ["x"]))) == [min(19, os.nice(0) + 10) * 2 + 0.25], (
            "nice, no torch, one thread"
        )
        assert totals(pool.score_many(requests("length", ["abc"]))) == [3.0], "what it prints is not its answer"


def test_a_worker_killed_from_outside_is_replaced(folder):
    with Pool("r1kit.rewards.workers.pool:answer", 1, settings=folder) as pool:

        def ask():
            return pool.submit(
                {"problem": {"id": "p", "question": "", "answer": "5"}, "text": "x", "weights": {"beside:length": 1}}
            )

        assert ask().result()["score"]["total"] == 1
        children = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", "rewards.worker"], capture_output=True, text=True
        )
        for pid in children.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        assert ask().result()["score"]["total"] == 1 and pool.restarts == 1


def test_workers_end_with_their_parent(tmp_path):
    (tmp_path / "beside.py").write_text(REWARDS)
    code = (
        "import os, sys\nfrom r1kit.rewards.workers.processes import Pool\nfrom r1kit.rewards.services import Settings\n"
        "pool = Pool('r1kit.rewards.workers.pool:answer', 1, settings=Settings(folder=sys.argv[1]))\n"
        "problem = {'id': 'p', 'question': '', 'answer': ''}\n"
        "ask = lambda text: pool.submit({'problem': problem, 'text': text, 'weights': {'beside:slow': 1}})\n"
        "ask('a').result(); ask('hang'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], timeout=120)
    assert done.returncode == -9

    def left():
        return subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()

    deadline = time.monotonic() + 60
    while left() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left(), "even one that hangs"


def test_lost_requests_are_told_apart_from_answers():
    with Pool("r1kit.no_such_module:f", 1) as pool, pytest.raises(Lost, match="died"):
        pool.submit(1).result()
    with pytest.raises(ValueError, match="0 grading processes"):
        Pool("m:f", 0)


def test_modules_beside_the_recipe_need_no_path(tmp_path):
    (tmp_path / "beside_it.py").write_text("def fine(problem, text): return 1\ndef one(text): return 1\n")
    check_reward_names({"beside_it:fine": 1.0}, tmp_path)
    assert str(tmp_path) not in sys.path
    for name, message in [
        ("beside_it:one", "cannot be called with"),
        ("beside_it:none", "none"),
        ("nowhere:f", "beside the recipe"),
    ]:
        with pytest.raises(RewardError, match=message):
            check_reward_names({name: 1.0}, tmp_path)
    recipe = tmp_path / "own.toml"
    text = 'name = "own"\n[stage.zero]\nkind = "rl"\nmodel = "sprout-base"\nprompts = ["world:arithmetic"]\n'
    text += 'rewards = {{ "{}" = 1.0 }}\n'
    recipe.write_text(text.format("beside_it:fine"))
    load_recipe(str(recipe))
    recipe.write_text(text.format("beside_it:missing"))
    with pytest.raises(UserError, match="own.toml: stage.zero.rewards: .*missing"):
        load_recipe(str(recipe))


def test_requests_travel_as_json():
    assert json.loads(json.dumps({"text": "\ud800 五"}))["text"] == "\ud800 五", "half a surrogate pair too"

"""Worker processes that really die, hang and fail."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from r1kit.errors import UserError
from r1kit.recipe import load_recipe
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.score import RewardError, ScoreRequest, check_reward_names
from r1kit.rewards.services import Settings
from r1kit.rewards.verifiers import VERIFIERS
from r1kit.rewards.workers.pool import RewardPool, needs_processes
from r1kit.rewards.workers.processes import Lost, Pool
from r1kit.types import Problem

REWARDS = """
import os, signal, sys, time
from pathlib import Path

HERE = Path(__file__).parent

def length(problem, text):
    print("must not reach the pipe of answers")
    return float(len(text))

def deadly(problem, text):  # kills its process the first time that it gets a text
    mark = HERE / f"seen-{text}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1

def always_deadly(problem, text): os.kill(os.getpid(), signal.SIGKILL)
def slow(problem, text): time.sleep(600 if text == "hang" else 0); return 1.0
def state(problem, text):
    return os.nice(0) * 2 + ("torch" in sys.modules) + 0.25 * (os.environ["OMP_NUM_THREADS"] == "1")

def odd(problem, text):
    does = {"raise": lambda: 1 / 0, "none": lambda: None, "nan": lambda: float("nan")}
    return does.get(text, lambda: 2)()

def one_argument(text): return 1
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own_rewards.py").write_text(REWARDS)
    return Settings(folder=str(tmp_path))


def requests(function, texts):
    return [
        ScoreRequest(Problem(f"p{i}", "", "5"), text, {f"own_rewards:{function}": 1.0}) for i, text in enumerate(texts)
    ]


def totals(scores):
    return [None if score.masked else score.total for score in scores]


@pytest.mark.slow
def test_scores_do_not_depend_on_worker_count_or_deaths(folder):
    texts = ["\\boxed{5}", "\\boxed{6}", "5", "", "<think>5", "\\boxed{2+3}", "\\boxed{5} 五"]
    weights = {"accuracy": 1.0, "format": 0.5, "language": 0.1}
    batch = [ScoreRequest(Problem("p", "", "5"), text, weights) for text in texts]
    results = []
    for workers in (1, 3):
        with RewardPool(workers, settings=folder) as pool:
            results.append(pool.score_many(batch))
            report = pool.take_report()
            assert (
                report["grading/math/right"] == 2
                and report["grading/math/unparseable"] == 3
                and not report["time/grading/failed"]
            )
            assert report["time/grading/math"] > 0 and pool.take_report()["time/grading/restarts"] == 0
    assert results[0] == results[1]
    with RewardPool(2, settings=folder) as pool:
        assert totals(pool.score_many(requests("deadly", "abcdef"))) == [1.0] * 6, "sent once more, not lost"
        assert pool.take_report()["time/grading/restarts"] == 6


@pytest.mark.slow
def test_score_many_collects_what_begin_started(folder):
    batch = [*requests("length", ["abc", "abc", "d"]), *requests("deadly", ["abc"])]
    with RewardPool(2, settings=folder) as pool:
        for request in reversed(batch[:3]):
            pool.begin(request)
        assert totals(pool.score_many(batch)) == [3.0, 3.0, 1.0, 1.0]
        assert sum(count for name, count in pool.take_report().items() if name.startswith("grading/")) == 4, (
            "each is scored once"
        )


@pytest.mark.slow
def test_requests_that_die_twice_or_hang_are_masked(folder):
    with RewardPool(2, settings=replace(folder, timeout=8.0)) as pool:
        assert totals(pool.score_many(requests("slow", ["a", "hang", "b", "c"]))) == [1.0, None, 1.0, 1.0]
        [lost] = pool.score_many(requests("always_deadly", ["x"]))
        assert lost.masked and "died on each of 2 tries (signal SIGKILL)" in lost.reason
        report = pool.take_report()
        assert report["grading/math/infra_error"] == 2 and report["time/grading/restarts"] == 3


def test_failing_reward_stops_the_run_after_a_tenth_of_the_completions(folder):
    with RewardPool(1, settings=folder) as pool:
        scores = pool.score_many(requests("odd", ["fine", "raise", "none", "nan"]))
        assert totals(scores) == [2.0, None, None, None] and "division by zero" in scores[1].reason
        with pytest.raises(RewardError, match=r"(?s)8 of 9 .*1 / 0.*ZeroDivisionError"):
            pool.score_many(requests("odd", ["raise"] * 9))


def test_workers_run_at_low_priority_on_one_thread_without_torch(folder):
    with RewardPool(1, settings=folder) as pool:
        assert totals(pool.score_many(requests("state", ["x"]))) == [min(19, os.nice(0) + 10) * 2 + 0.25], (
            "niceness, no torch, one thread"
        )
        assert totals(pool.score_many(requests("length", ["abc"]))) == [3.0], "printed text is not the answer"


def test_worker_killed_from_outside_is_replaced(folder):
    with Pool("r1kit.rewards.workers.pool:answer", 1, settings=folder) as pool:

        def ask():
            return pool.submit(
                {
                    "problem": {"id": "p", "question": "", "answer": "5"},
                    "text": "x",
                    "weights": {"own_rewards:length": 1},
                }
            )

        assert ask().result()["score"]["total"] == 1
        children = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", "rewards.worker"], capture_output=True, text=True
        )
        for pid in children.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        assert ask().result()["score"]["total"] == 1 and pool.restarts == 1


def test_workers_end_with_their_parent(tmp_path):
    (tmp_path / "own_rewards.py").write_text(REWARDS)
    code = (
        "import os, sys\nfrom r1kit.rewards.workers.processes import Pool\n"
        "from r1kit.rewards.services import Settings\n"
        "pool = Pool('r1kit.rewards.workers.pool:answer', 1, settings=Settings(folder=sys.argv[1]))\n"
        "problem = {'id': 'p', 'question': '', 'answer': ''}\n"
        "ask = lambda text: pool.submit({'problem': problem, 'text': text, 'weights': {'own_rewards:slow': 1}})\n"
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


def test_error_ends_hanging_workers_at_once(folder):
    def interrupt():
        with RewardPool(2, settings=folder) as pool:
            first, *_ = [pool.submit(request) for request in requests("slow", ["a", "hang", "hang", "hang"])]
            pool.result(first)
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert time.monotonic() - start < 300, "not the 600 seconds that the reward sleeps"


def test_lost_requests_raise():
    with Pool("r1kit.no_such_module:f", 1) as pool, pytest.raises(Lost, match="died"):
        pool.submit(1).result()
    with pytest.raises(ValueError, match="workers = 0"):
        Pool("m:f", 0)


def test_reward_modules_are_found_in_the_recipe_directory(tmp_path):
    (tmp_path / "near_recipe.py").write_text("def fine(problem, text): return 1\ndef three(a, b, c): return 1\n")
    check_reward_names({"near_recipe:fine": 1.0}, tmp_path)
    assert str(tmp_path) not in sys.path
    for name, message in [
        ("near_recipe:three", "cannot be called with"),
        ("near_recipe:none", "none"),
        ("nowhere:f", "recipe's directory"),
    ]:
        with pytest.raises(RewardError, match=message):
            check_reward_names({name: 1.0}, tmp_path)
    recipe = tmp_path / "own.toml"
    text = 'name = "own"\n[stage.zero]\nkind = "rl"\nmodel = "sprout-base"\nprompts = ["world:arithmetic"]\n'
    text += 'rewards = {{ "{}" = 1.0 }}\n'
    recipe.write_text(text.format("near_recipe:fine"))
    load_recipe(str(recipe))
    recipe.write_text(text.format("near_recipe:missing"))
    with pytest.raises(UserError, match=r"own.toml: stage.zero.rewards: .*missing"):
        load_recipe(str(recipe))


def test_requests_and_settings_survive_json(folder):
    settings = replace(folder, judge=Endpoint("http://host/v1", "m", max_concurrent=2))
    assert Settings.from_dict(json.loads(json.dumps(asdict(settings)))) == settings
    assert Settings.from_dict(asdict(folder)) == folder
    with RewardPool(1, settings=folder) as pool:
        assert totals(pool.score_many(requests("length", ["\ud800 五"]))) == [3.0], "a lone surrogate is text too"


def test_problem_for_a_judge_needs_a_judge_in_the_recipe():
    problem = Problem("p7", "Capital of France?", "Paris", "judge")
    with RewardPool(1) as pool, pytest.raises(UserError, match=r"problem p7: .*set judge = .* top of the recipe"):
        pool.begin(ScoreRequest(problem, "Paris", {"accuracy": 1.0}))


def test_only_foreign_code_and_endpoints_need_processes():
    verifiers = {name for name in VERIFIERS if needs_processes((), [name])}
    assert verifiers == {"code", "cruxeval", "repository", "reasoning_gym", "judge"}
    assert needs_processes(["own:f"], ()) and not needs_processes(["accuracy", "format"], ["math", "unknown"])

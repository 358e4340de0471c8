"""Every watchdog, set off by the real condition in a real RL stage of a few steps on a tiny random model."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from r1kit.config import RL, PromptSource
from r1kit.data.problems import load_problems
from r1kit.engine.factory import make_engine
from r1kit.engine.native import NativeEngine
from r1kit.engine.scripted import ScriptedEngine
from r1kit.errors import UserError
from r1kit.metrics.log import read_metrics
from r1kit.metrics.watchdogs import WATCHDOGS
from r1kit.model.hf import publish_model
from r1kit.stages import rl
from r1kit.stages.context import StageContext

GOOD = "<think>1</think><answer>1</answer>"
LONG = "so it goes on and on, as nobody has told it to come to an end at all, and it never will " * 2
# What a random model and a scripted engine do all the time, or a busy machine; off where it is not the point.
USUAL = "constant_reward never_ends always_cut_off cut_off no_variance sampling_gap sampling_wrong repetition".split()
USUAL += ["starved"]
PROVOKED: set[str] = set()

OWN_REWARDS = """
import time

calls = 0

def counted():
    global calls
    calls += 1
    return calls

def digits(problem, text): return float(sum(c in "0123456789aeiou" for c in text))
def grows(problem, text): return 1.0 + counted()
def settles(problem, text): return 1.0 if counted() > 4 else 0.5
def slow(problem, text): time.sleep(0.2); return digits(problem, text)
def huge(problem, text): return 1e39 if counted() % 2 else -1e39  # finite, but not as a float32
def once_huge(problem, text): return digits(problem, text) + (1e39 if counted() == 5 else 0)
def jumps(problem, text): return digits(problem, text) * (1e5 if counted() > 4 * 12 else 1)
"""


@pytest.fixture(scope="module")
def model_dir(make_decoder, tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny") / "model"
    publish_model(make_decoder(0), tokenizer, directory)
    return directory


@pytest.fixture
def train(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """train(steps, engine, on, **config) runs the stage, USUAL watchdogs off but for those `on`.

    Gives {"rows", "first": watchdog -> the first step it barked at, "stopped": the error}."""
    (tmp_path / "own_rewards.py").write_text(OWN_REWARDS)
    beside = {"folder": str(tmp_path)}

    def run(steps: int, engine: Callable[..., Any] = make_engine, on: str = "", **changes: Any) -> dict[str, Any]:
        monkeypatch.setattr(rl, "make_engine", engine)
        given = dict(prompts=[{"source": "world:arithmetic", "limit": 8}], prompts_per_step=2, num_generations=2)
        given |= dict(steps_per_rollout=1, max_completion_length=16, learning_rate=1e-4, rewards={"accuracy": 1.0})
        given |= dict(watchdogs={name: "off" for name in USUAL if name not in on.split()}, beta=0.0, save_every=1)
        config = RL(kind="rl", model="tiny", steps=steps, **{**given, **changes})
        context = StageContext("zero", tmp_path / "zero", 7, "float32", "cpu", 64, {"tiny": model_dir}, grading=beside)
        stopped = ""
        try:
            rl.run(config, context)
        except UserError as error:
            stopped = str(error)
            if "stopped by its watchdogs" not in stopped:
                raise
        rows = read_metrics(tmp_path / "zero/metrics.jsonl")
        found = [(row["step"], name) for row in rows for key in ("alerts", "time/alerts") for name in row.get(key, ())]
        PROVOKED.update(name for _, name in found)
        return {"rows": rows, "stopped": stopped, "first": {name: step for step, name in reversed(found)}}

    return run


def saying(script: Callable[[int, int], str]) -> Callable[..., ScriptedEngine]:
    """An engine whose answer is script(weights version, sample)."""

    def build(model: object, tokenizer: Any, max_concurrent: int) -> ScriptedEngine:
        engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: script(engine.version, sample))  # its own, by now
        return engine

    return build


def own(name: str) -> dict[str, float]:
    return {f"own_rewards:{name}": 1.0}


def test_a_reward_that_is_constant_from_the_start_stops_the_run(train) -> None:
    done = train(12, on="constant_reward no_variance")
    assert done["first"] == {"no_variance": 3, "constant_reward": 10} and len(done["rows"]) == 10
    assert "from the start" in done["stopped"] and "watchdogs.constant_reward" in done["stopped"]


def test_a_reward_that_dies_on_the_way_stops_the_run(train) -> None:
    engine = saying(lambda version, sample: GOOD if version < 1 else "no")
    done = train(11, engine, "constant_reward", rewards={"format": 1.0}, max_completion_length=64)
    assert done["first"]["constant_reward"] == 11 and "for 10 rollouts" in done["stopped"]


def test_a_reward_at_its_best_is_a_warning(train, capfd) -> None:
    done = train(14, rewards=own("settles"), on="constant_reward")
    assert done["first"] == {"saturated_reward": 11} and not done["stopped"] and len(done["rows"]) == 14
    assert capfd.readouterr().err.count("warning, step 11: saturated_reward: ") == 1, "said once, not at every step"


@pytest.mark.parametrize(
    ("name", "short", "stops_at"), [("cut_off", 2, None), ("always_cut_off", 1, 3), ("never_ends", 0, 3)]
)
def test_answers_that_are_cut_off(train, name: str, short: int, stops_at: int | None) -> None:
    def script(version: int, sample: int) -> str:
        return "no" if sample < short else LONG

    groups = dict(num_generations={"cut_off": 4}.get(name, 12), prompts_per_step=1)
    done = train(4, saying(script), "cut_off always_cut_off never_ends", **groups)
    assert name in done["first"] and len(done["rows"]) == (stops_at or 4)
    assert (f"{name}: " in done["stopped"]) == bool(stops_at)


def test_answers_that_run_in_circles(train) -> None:
    done = train(1, saying(lambda version, sample: "ab" * 40), "repetition", max_completion_length=64)
    assert done["first"] == {"repetition": 1}


def test_a_form_that_is_unlearnt(train) -> None:
    engine = saying(lambda version, sample: GOOD if version < 3 else "no")
    assert train(5, engine, rewards={"format": 1.0}, max_completion_length=64)["first"] == {"format_falls": 4}


def test_a_reward_that_rises_while_held_out_accuracy_falls(train) -> None:
    """Held-out problems are solved at first; then the model writes what only the reward likes."""
    held_out = load_problems([PromptSource(source="world:arithmetic", split="held_out", limit=4)])
    right = {problem.id: f"<think>x</think><answer>{problem.answer}</answer>" for problem in held_out}

    class Hacked(ScriptedEngine):
        def __init__(self, model: object, tokenizer: Any, max_concurrent: int) -> None:
            super().__init__(tokenizer, lambda prompt_id, sample: right.get(prompt_id, "") * (self.version < 3) + "aa")

    benchmark = {"sprout": [{"source": "world:arithmetic", "split": "held_out", "limit": 4}]}
    given = dict(rewards=own("grows"), benchmarks=benchmark, eval_every=1, eval_samples=1, max_completion_length=64)
    done = train(5, Hacked, **given)
    assert done["first"] == {"reward_hacking": 4} and done["rows"][0]["eval/sprout/pass@1"] == 1


def test_an_engine_of_another_precision_is_warned_about(train) -> None:
    class Rounded(NativeEngine):
        """Generates with weights that went through bfloat16."""

        def __init__(self, model: Any, tokenizer: Any, max_concurrent: int) -> None:
            super().__init__(deepcopy(model).bfloat16().float(), tokenizer, max_concurrent)

        def load_weights(self, model: Any, version: int) -> None:
            super().load_weights(deepcopy(model).bfloat16().float(), version)

    assert train(1, Rounded, "sampling_gap sampling_wrong")["first"] == {"sampling_gap": 1}


def test_an_engine_with_other_weights_stops_the_run(train, make_decoder) -> None:
    class Other(NativeEngine):
        def load_weights(self, model: Any, version: int) -> None:
            super().load_weights(make_decoder(1), version)

    done = train(1, Other, "sampling_gap sampling_wrong")
    assert done["first"] == {"sampling_gap": 1, "sampling_wrong": 1} and "other weights" in done["stopped"]


def test_an_engine_that_keeps_old_weights_stops_the_run(train, tmp_path: Path) -> None:
    class Forgetful(NativeEngine):
        def __init__(self, model: Any, tokenizer: Any, max_concurrent: int) -> None:
            super().__init__(deepcopy(model), tokenizer, max_concurrent)

        def load_weights(self, model: Any, version: int) -> None: ...

    done = train(3, Forgetful, rewards=own("digits"))
    assert done["first"] == {"stale_weights": 2} and "1 updates from the policy's" in done["stopped"]
    assert [path.name for path in (tmp_path / "zero/checkpoints").glob("step_*")] == ["step_00000001"], "2 is not kept"


def test_an_update_that_is_not_finite_is_left_out(train) -> None:
    done = train(3, rewards=own("once_huge"))
    assert [row["skipped"] for row in done["rows"]] == [0, 1, 0] and done["first"] == {"skipped": 2}
    assert not done["stopped"]


def test_three_updates_in_a_row_that_are_not_finite_stop_the_run(train) -> None:
    done = train(5, rewards=own("huge"))
    assert done["first"] == {"skipped": 1, "not_finite": 3} and "learning_rate" in done["stopped"]


def test_a_policy_far_from_its_reference(train) -> None:
    done = train(6, rewards=own("digits"), learning_rate=0.3, beta=0.01)
    assert "high_kl" in done["first"] and not done["stopped"]


class Sharpened(NativeEngine):
    """After so many updates the model's opinions become so many times as strong."""

    factors = {0: 1e3}

    def load_weights(self, model: Any, version: int) -> None:
        with torch.no_grad():
            model.norm.weight.mul_(self.factors.get(version, 1))
        super().load_weights(model, version)


def test_a_model_that_is_certain_of_everything(train) -> None:
    assert "entropy_collapse" in train(1, Sharpened)["first"]


def test_answers_that_turn_into_noise(train) -> None:
    class Blurred(Sharpened):
        factors = {0: 10, 11: 1e-3}

    assert train(12, Blurred)["first"] == {"entropy_rises": 12}


def test_a_gradient_far_above_the_usual(train) -> None:
    done = train(13, rewards=own("jumps"), objective="dr_grpo")
    assert done["first"] == {"gradient_spike": 13} and not done["stopped"]


def test_a_run_that_waits_for_its_grades(train) -> None:
    done = train(5, on="starved", rewards=own("slow"))
    assert done["first"] == {"starved": 5} and "alerts" not in done["rows"][-1], "the clock's findings stay apart"
    assert "starved" in done["rows"][-1]["time/alerts"]


def test_every_watchdog_was_set_off_above() -> None:
    assert set(WATCHDOGS) - PROVOKED <= {"ungraded", "grading_fails"}  # tests/e2e/test_faults.py

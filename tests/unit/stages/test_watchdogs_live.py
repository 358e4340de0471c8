"""Every watchdog, triggered by its real condition in an RL stage of a few steps with a tiny random model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

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
LONG = "this completion is longer than the length limit of every test in this file, so it is always cut off here " * 2
# A random model, a scripted engine or a busy machine triggers these in most tests. Off unless the test is about them.
COMMON = "constant_reward never_ends always_cut_off cut_off no_variance sampling_gap sampling_wrong repetition".split()
COMMON += ["starved"]
triggered: set[str] = set()  # watchdogs, in any test of this file
finished: set[str] = set()  # tests of this file

pytestmark = pytest.mark.slow

OWN_REWARDS = """
import time

calls, ended = 0, time.monotonic()

def counted():
    global calls
    calls += 1
    return calls

def digits(problem, text): return float(sum(c in "0123456789aeiou" for c in text))
def grows(problem, text): return 1.0 + counted()
def settles(problem, text): return 1.0 if counted() > 4 else 0.5
def slow(problem, text):  # takes most of a step, however busy the machine is
    global ended
    time.sleep(0.05 + 2 * (time.monotonic() - ended))
    ended = time.monotonic()
    return digits(problem, text)

def huge(problem, text): return 1e9 if counted() % 2 else -1e9  # times HUGE: finite, but not as a float32
def once_huge(problem, text): return 1e-30 * digits(problem, text) + (1e9 if counted() == 5 else 0)
def jumps(problem, text): return digits(problem, text) * (1e5 if counted() > 4 * 12 else 1)
"""


@pytest.fixture(scope="module")
def model_dir(make_decoder, tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny") / "model"
    publish_model(make_decoder(0), tokenizer, directory)
    return directory


@pytest.fixture(autouse=True)
def note_finished(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    finished.add(request.node.originalname)


@pytest.fixture
def train(model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the stage for `steps` steps, with the COMMON watchdogs off except those in `on`.

    It returns {"rows": metrics, "first": watchdog -> its first step, "stopped": the error message or ""}.
    """
    (tmp_path / "own_rewards.py").write_text(OWN_REWARDS)
    settings = {"folder": str(tmp_path)}

    def run(steps: int, engine: Callable[..., Any] = make_engine, on: str = "", **changes: Any) -> dict[str, Any]:
        monkeypatch.setattr(rl, "make_engine", lambda *given: engine(*given[:4]))  # without the choice of an engine
        keys = dict(prompts=[{"source": "world:arithmetic", "limit": 8}], prompts_per_step=2, num_generations=2)
        keys |= dict(steps_per_rollout=1, max_completion_length=16, learning_rate=1e-4, rewards={"accuracy": 1.0})
        keys |= dict(watchdogs={name: "off" for name in COMMON if name not in on.split()}, beta=0.0, save_every=1)
        config = RL(kind="rl", model="tiny", steps=steps, **{**keys, **changes})
        context = StageContext(
            "zero", tmp_path / "zero", 7, "float32", "cpu", 64, {"tiny": model_dir}, grading=settings
        )
        stopped = ""
        try:
            rl.run(config, context)
        except UserError as error:
            stopped = str(error)
            if "stopped by its watchdogs" not in stopped:
                raise
        rows = read_metrics(tmp_path / "zero/metrics.jsonl")
        alerts = [(row["step"], name) for row in rows for key in ("alerts", "time/alerts") for name in row.get(key, ())]
        triggered.update(name for _, name in alerts)
        return {"rows": rows, "stopped": stopped, "first": {name: step for step, name in reversed(alerts)}}

    return run


def scripted(script: Callable[[int, int], str]) -> Callable[..., ScriptedEngine]:
    """Return a factory of engines whose completions are script(weights version, sample)."""

    def make(model: object, tokenizer: Any, *_: object) -> ScriptedEngine:
        engine = ScriptedEngine(tokenizer, lambda prompt_id, sample: script(engine.version, sample))
        return engine

    return make


HUGE = 1e30  # a weight


def custom(name: str, weight: float = 1.0) -> dict[str, float]:
    return {f"own_rewards:{name}": weight}


def test_constant_reward_from_the_start_stops_the_run(train) -> None:
    done = train(12, on="constant_reward no_variance")
    assert done["first"] == {"no_variance": 3, "constant_reward": 10} and len(done["rows"]) == 10
    assert "from the start" in done["stopped"] and "watchdogs.constant_reward" in done["stopped"]


def test_constant_reward_later_on_stops_the_run(train) -> None:
    engine = scripted(lambda version, sample: GOOD if version < 1 else "no")
    done = train(11, engine, "constant_reward", rewards={"format": 1.0}, max_completion_length=64)
    assert done["first"]["constant_reward"] == 11 and "for 10 rollouts" in done["stopped"]


def test_saturated_reward_is_a_warning(train, capfd) -> None:
    done = train(14, rewards=custom("settles"), on="constant_reward")
    assert done["first"] == {"saturated_reward": 11} and not done["stopped"] and len(done["rows"]) == 14
    assert capfd.readouterr().err.count("warning: step 11: saturated_reward: ") == 1, "shown once, not at every step"


@pytest.mark.parametrize(
    ("name", "short", "stops_at"), [("cut_off", 2, None), ("always_cut_off", 1, 3), ("never_ends", 0, 3)]
)
def test_truncated_completions(train, name: str, short: int, stops_at: int | None) -> None:
    def script(version: int, sample: int) -> str:
        return "no" if sample < short else LONG

    groups = dict(num_generations={"cut_off": 4}.get(name, 12), prompts_per_step=1)
    done = train(4, scripted(script), "cut_off always_cut_off never_ends", **groups)
    assert name in done["first"] and len(done["rows"]) == (stops_at or 4)
    assert (f"{name}: " in done["stopped"]) == bool(stops_at)


def test_repetitive_completions(train) -> None:
    done = train(1, scripted(lambda version, sample: "ab" * 40), "repetition", max_completion_length=64)
    assert done["first"] == {"repetition": 1}


def test_falling_format_reward(train) -> None:
    engine = scripted(lambda version, sample: GOOD if version < 3 else "no")
    assert train(5, engine, rewards={"format": 1.0}, max_completion_length=64)["first"] == {"format_falls": 4}


def test_rising_reward_with_falling_held_out_accuracy(train) -> None:
    """The model solves the held-out problems at first; then its completions only raise the reward."""
    held_out = load_problems([PromptSource(source="world:arithmetic", split="held_out", limit=4)])
    right = {problem.id: f"<think>x</think><answer>{problem.answer}</answer>" for problem in held_out}

    class Hacked(ScriptedEngine):
        def __init__(self, model: object, tokenizer: Any, *_: object) -> None:
            super().__init__(tokenizer, lambda prompt_id, sample: right.get(prompt_id, "") * (self.version < 3) + "aa")

    benchmark = {"sprout": [{"source": "world:arithmetic", "split": "held_out", "limit": 4}]}
    keys = dict(rewards=custom("grows"), benchmarks=benchmark, eval_every=1, eval_samples=1, max_completion_length=64)
    done = train(5, Hacked, **keys)
    assert done["first"] == {"reward_hacking": 4} and done["rows"][0]["eval/sprout/pass@1"] == 1


def test_engine_in_another_precision_is_a_warning(train) -> None:
    class Rounded(NativeEngine):
        """An engine with weights rounded to bfloat16."""

        def __init__(self, model: Any, tokenizer: Any, *limits: Any) -> None:
            super().__init__(deepcopy(model).bfloat16().float(), tokenizer, *limits)

        def load_weights(self, model: Any, version: int) -> None:
            super().load_weights(deepcopy(model).bfloat16().float(), version)

    assert train(1, Rounded, "sampling_gap sampling_wrong")["first"] == {"sampling_gap": 1}


def test_engine_with_other_weights_stops_the_run(train, make_decoder) -> None:
    class Other(NativeEngine):
        def load_weights(self, model: Any, version: int) -> None:
            super().load_weights(make_decoder(1), version)

    done = train(1, Other, "sampling_gap sampling_wrong")
    assert done["first"] == {"sampling_gap": 1, "sampling_wrong": 1} and "other weights" in done["stopped"]


def test_engine_with_old_weights_stops_the_run(train, tmp_path: Path) -> None:
    class Forgetful(NativeEngine):
        def __init__(self, model: Any, tokenizer: Any, *limits: Any) -> None:
            super().__init__(deepcopy(model), tokenizer, *limits)

        def load_weights(self, model: Any, version: int) -> None: ...

    done = train(3, Forgetful, rewards=custom("digits"))
    assert done["first"] == {"stale_weights": 2} and "1 updates from the policy's" in done["stopped"]
    assert [path.name for path in (tmp_path / "zero/checkpoints").glob("step_*")] == ["step_00000001"], (
        "step 2 is not saved"
    )


def test_update_that_is_not_finite_is_skipped(train) -> None:
    done = train(3, rewards=custom("once_huge", HUGE))
    assert [row["skipped"] for row in done["rows"]] == [0, 1, 0] and done["first"] == {"skipped": 2}
    assert not done["stopped"]


def test_three_skipped_updates_in_a_row_stop_the_run(train) -> None:
    done = train(5, rewards=custom("huge", HUGE))
    assert done["first"] == {"skipped": 1, "not_finite": 3} and "learning_rate" in done["stopped"]


def test_policy_far_from_its_reference(train) -> None:
    done = train(6, rewards=custom("digits"), learning_rate=0.3, beta=0.01)
    assert "high_kl" in done["first"] and not done["stopped"]


class Sharpened(NativeEngine):
    """Scales the final norm, and so the logits, by a factor that depends on the weights version."""

    factors: ClassVar[dict[int, float]] = {0: 1e3}

    def load_weights(self, model: Any, version: int) -> None:
        with torch.no_grad():
            model.norm.weight.mul_(self.factors.get(version, 1))
        super().load_weights(model, version)


def test_policy_without_entropy(train) -> None:
    assert "entropy_collapse" in train(1, Sharpened)["first"]


def test_rising_entropy(train) -> None:
    class Blurred(Sharpened):
        factors: ClassVar[dict[int, float]] = {0: 10, 11: 1e-3}

    assert train(12, Blurred)["first"] == {"entropy_rises": 12}


def test_gradient_far_above_the_median(train) -> None:
    done = train(13, rewards=custom("jumps"), objective="dr_grpo")
    assert done["first"] == {"gradient_spike": 13} and not done["stopped"]


def test_step_that_waits_for_grading(train) -> None:
    done = train(5, on="starved", rewards=custom("slow"))
    assert done["first"] == {"starved": 5} and "alerts" not in done["rows"][-1], (
        "alerts of timed watchdogs are in time/alerts"
    )
    assert "starved" in done["rows"][-1]["time/alerts"]


def test_every_watchdog_was_triggered_above() -> None:
    others = {name for name in globals() if name.startswith("test_")} - {"test_every_watchdog_was_triggered_above"}
    if finished != others:
        pytest.skip("needs the results of all other tests in this file")
    assert set(WATCHDOGS) - triggered <= {"ungraded", "grading_fails"}  # tests/e2e/test_faults.py

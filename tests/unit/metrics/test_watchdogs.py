"""Watchdogs are pure functions of the rows; alerts are logged, shown once, and stop a stage before it saves."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import r1kit
from r1kit.config import RL, Recipe
from r1kit.errors import UserError
from r1kit.metrics.glossary import EXPLANATIONS, legend
from r1kit.metrics.history import History
from r1kit.metrics.log import read_metrics
from r1kit.metrics.watchdog_log import WatchdogLog
from r1kit.metrics.watchdogs import check
from r1kit.recipe import cross_checks
from r1kit.report.collect import collect
from r1kit.report.sections import warnings
from r1kit.stages.train_loop import TimedIterator


def row(step: int, **changes: float) -> dict:
    """A healthy update, the first one of its rollout, with some metrics changed."""
    healthy = {"reward": 0.5 + step / 100, "frac_reward_zero_std": 0.2, "completions/clipped_ratio": 0.01}
    healthy |= {"kl": 0.1, "entropy": 0.3, "grad_norm": 0.5, "loss": 0.0, "skipped": 0.0, "time/step": 1.0}
    return {"step": step, "tokens": 100 * step, **healthy, **changes}


def names(rows: list[dict], **severities: str) -> set[str]:
    """The watchdogs that raise an alert about the last row."""
    return {alert.watchdog.name for alert in check(History(rows), severities)}


def test_healthy_rows_and_rows_without_metrics_raise_no_alert() -> None:
    assert names([row(step) for step in range(1, 60)]) == set()
    assert names([{"step": step, "loss": 5.0} for step in range(1, 60)]) == set()
    assert names([row(1, reward=float("nan"), entropy=float("nan"), kl=float("nan"), grad_norm=float("inf"))]) == set()


def test_rows_of_one_rollout_count_once() -> None:
    """With 16 updates per rollout, 16 equal rows are one rollout; a constant reward needs ten rollouts."""
    rows = [row(step, reward=0.1, tokens=step // 16) for step in range(160)]
    assert names(rows[:-16]) == set() and names(rows) == {"constant_reward"}


def test_severities_can_be_set_by_name() -> None:
    rows = [row(1, kl=3.0)]
    assert [alert.watchdog.severity for alert in check(History(rows))] == ["warn"]
    assert [alert.watchdog.severity for alert in check(History(rows), {"high_kl": "stop"})] == ["stop"]
    assert names(rows, high_kl="off") == set()
    stage = RL(kind="rl", model="sprout-base", prompts=["world:logic"], watchdogs={"hi_kl": "off"})
    [mistake] = cross_checks(Recipe(name="r", stage={"zero": stage}))
    assert mistake.location == ("stage", "zero", "watchdogs", "hi_kl") and "high_kl" in mistake.text


def test_sampling_gap_limit_depends_on_the_dtype() -> None:
    rows = [row(1, **{"sampling/logp_difference_mean": 0.0045})]
    assert {a.watchdog.name for a in check(History(rows, "float32"))} == {"sampling_gap"}
    for gap, alerts in ((0.044, set()), (0.2, {"sampling_gap"}), (0.6, {"sampling_gap", "sampling_wrong"})):
        rows = [row(1, **{"sampling/logp_difference_mean": gap})]  # 0.044 was measured in a healthy bfloat16 run
        assert {a.watchdog.name for a in check(History(rows, "bfloat16"))} == alerts


def test_evaluation_before_the_first_update_is_no_rollout() -> None:
    rows = [{"step": 0, "eval/sprout/pass@1": 0.1}, *(row(step, tokens=step) for step in range(1, 4))]
    assert len(History(rows).rollouts) == 3


def log_to(directory: Path, **severities: str) -> WatchdogLog:
    return WatchdogLog(directory / "metrics.jsonl", "zero", "float32", severities)


def test_resumed_log_equals_uninterrupted_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [row(step, kl=3.0 if step % 3 == 0 else 0.1, reward=0.5 if step < 9 else 0.6) for step in range(1, 20)]
    uninterrupted = log_to(tmp_path / "uninterrupted", constant_reward="warn", saturated_reward="warn")
    for one in rows:
        uninterrupted.append(one)
    shown = capfd.readouterr().err
    assert shown.count("warning: step 3: high_kl: ") == shown.count("high_kl: ") == 1
    for one in rows:  # a new log for every row, as after a resume
        log_to(tmp_path / "resumed", constant_reward="warn", saturated_reward="warn").append(one)
    assert capfd.readouterr().err == shown
    for file in ("metrics.jsonl", "timings.jsonl"):
        assert (tmp_path / "resumed" / file).read_bytes() == (tmp_path / "uninterrupted" / file).read_bytes()
    alerts = [one.get("alerts", {}) for one in read_metrics(uninterrupted.path)]
    assert [i + 1 for i, names in enumerate(alerts) if "high_kl" in names] == [3, 6, 9, 12, 15, 18]
    assert "saturated_reward" in alerts[-1] and not any("saturated_reward" in names for names in alerts[:17])


def test_stop_is_logged_before_it_is_raised(tmp_path: Path) -> None:
    log = log_to(tmp_path)
    with pytest.raises(UserError, match=r"(?s)stage zero, step 1, .*stale_weights: .*2 updates.*stale_weights=warn"):
        log.append(row(1, **{"sampling/weights_lag": 2}))
    [written] = read_metrics(log.path)
    assert set(written["alerts"]) == {"stale_weights"}
    with pytest.raises(UserError):
        log_to(tmp_path).append(row(2, **{"sampling/weights_lag": 2}))  # stops again until the cause is fixed


def test_rows_before_an_amendment_are_not_compared(tmp_path: Path) -> None:
    rows = [row(step, **{"rewards/accuracy/mean": 1.0, "reward": 1.0 + step / 100}) for step in range(1, 10)]
    log = log_to(tmp_path)
    for each in rows:
        log.append(each)
    since = WatchdogLog(tmp_path / "metrics.jsonl", "zero", "float32", since=5)
    since.append(row(10))
    assert since.rows is not None and [each["step"] for each in since.rows] == [6, 7, 8, 9, 10]


def test_report_lists_alerts_with_remedies(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('name = "r"\n[stage.zero]\nkind = "rl"\n')
    log = log_to(tmp_path / "stages/zero")
    for step in range(1, 5):
        log.append(row(step, kl=3.0 if step > 2 else 0.1))
    (warning,) = warnings(collect(tmp_path).stages)
    assert (warning.watchdog, warning.stage) == ("high_kl", "zero")
    assert warning.steps == "2 times from step 3 to step 4; the first time" and "raise beta" in warning.remedy
    assert warnings([]) == []


def test_waiting_for_data_is_measured() -> None:
    steps = TimedIterator(iter([1, 2]))
    assert list(steps) == [1, 2] and set(steps.take_times()) == {"time/data", "time/step"}


def test_legend_is_the_first_sentence_of_each_explanation() -> None:
    lines = legend({"length": "completions/mean_length", "loss": "loss"}, "rl")
    assert lines[0] == "  length: Mean length of a completion in tokens."
    assert lines[1].startswith("  loss: The loss starts at 0 in GRPO, and that is normal:")
    assert legend({"loss": "loss"}, "sft") != lines[1:] and legend({}, "evaluate") == []
    everything = legend({key: key for key in EXPLANATIONS}, "")
    assert all(len(line) < 220 and line.endswith(".") and not line.endswith("..") for line in everything)


# -- timeouts -----------------------------------------------------------------------------------------------------

WAITS = re.compile(r"subprocess\.(run|check_\w+|call)$|\.communicate$|urlopen$")


def waits_without_timeout(path: Path) -> list[str]:
    """Calls that wait for another process or machine without a timeout."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    waits = [call for call in calls if WAITS.search(ast.unparse(call.func))]
    unlimited = [call for call in waits if not {word.arg for word in call.keywords} & {"timeout", None}]
    return [f"{path.name}:{call.lineno}: {ast.unparse(call.func)}" for call in unlimited]


@pytest.mark.slow
def test_every_wait_for_another_process_has_a_timeout() -> None:
    package = Path(r1kit.__file__).parent
    assert [wait for path in sorted(package.rglob("*.py")) for wait in waits_without_timeout(path)] == []

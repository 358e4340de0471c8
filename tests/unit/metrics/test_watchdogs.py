"""What watchdogs see is a pure function of the rows; stages write it down, say it once, and stop before they save."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from paths import ROOT

import r1kit
from r1kit.config import RL, Recipe
from r1kit.errors import UserError
from r1kit.metrics.glossary import LEGEND, legend
from r1kit.metrics.log import read_metrics
from r1kit.metrics.watchdogs import WATCHDOGS, History, look
from r1kit.metrics.watched_log import WatchedLog
from r1kit.recipe import cross_checks
from r1kit.report.collect import collect
from r1kit.report.sections import warnings
from r1kit.stages.loop import Waited


def row(step: int, **changes: float) -> dict:
    """A healthy update, the first of its rollout."""
    healthy = {"reward": 0.5 + step / 100, "frac_reward_zero_std": 0.2, "completions/clipped_ratio": 0.01}
    healthy |= {"kl": 0.1, "entropy": 0.3, "grad_norm": 0.5, "loss": 0.0, "skipped": 0.0, "time/step": 1.0}
    return {"step": step, "tokens": 100 * step, **healthy, **changes}


def names(rows: list[dict], **given: str) -> set[str]:
    return {alert.watchdog.name for alert in look(History(rows), given)}


def test_a_healthy_run_is_left_alone_and_rows_without_a_metric_too() -> None:
    assert names([row(step) for step in range(1, 60)]) == set()
    assert names([{"step": step, "loss": 5.0} for step in range(1, 60)]) == set()
    assert names([row(1, reward=float("nan"), entropy=float("nan"), kl=float("nan"), grad_norm=float("inf"))]) == set()


def test_rows_of_one_rollout_count_once() -> None:
    """With 16 updates a rollout, 16 equal rows are no constant reward: ten rollouts are."""
    rows = [row(step, reward=0.1, tokens=step // 16) for step in range(160)]
    assert names(rows[:-16]) == set() and names(rows) == {"constant_reward"}


def test_severities_are_given_by_name() -> None:
    rows = [row(1, kl=3.0)]
    assert [alert.watchdog.severity for alert in look(History(rows))] == ["warn"]
    assert [alert.watchdog.severity for alert in look(History(rows), {"high_kl": "stop"})] == ["stop"]
    assert names(rows, high_kl="off") == set()
    stage = RL(kind="rl", model="sprout-base", prompts=["world:logic"], watchdogs={"hi_kl": "off"})
    [(at, mistake)] = cross_checks(Recipe(name="r", stage={"zero": stage}))
    assert at == ("stage", "zero", "watchdogs", "hi_kl") and "high_kl" in mistake


def test_the_precision_decides_what_gap_is_too_large() -> None:
    rows = [row(1, **{"sampling/logp_difference_mean": 0.0045})]  # measured in bfloat16 on a healthy run
    assert {a.watchdog.name for a in look(History(rows, "float32"))} == {"sampling_gap"}
    assert not look(History(rows, "bfloat16"))


def log_to(directory: Path, **severities: str) -> WatchedLog:
    return WatchedLog(directory / "metrics.jsonl", "zero", "float32", severities)


def test_a_resumed_log_goes_on_as_an_undisturbed_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [row(step, kl=3.0 if step % 3 == 0 else 0.1, reward=0.5 if step < 9 else 0.6) for step in range(1, 20)]
    whole = log_to(tmp_path / "whole", constant_reward="warn", saturated_reward="warn")
    for made in rows:
        whole.append(made)
    said = capfd.readouterr().err
    assert said.count("warning, step 3: high_kl: ") == said.count("high_kl: ") == 1, "shown once"
    for made in rows:  # every row by a process of its own
        log_to(tmp_path / "cut", constant_reward="warn", saturated_reward="warn").append(made)
    assert capfd.readouterr().err == said
    for file in ("metrics.jsonl", "timings.jsonl"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    alerts = [made.get("alerts", {}) for made in read_metrics(whole.path)]
    assert [i + 1 for i, seen in enumerate(alerts) if "high_kl" in seen] == [3, 6, 9, 12, 15, 18]
    assert "saturated_reward" in alerts[-1] and not any("saturated_reward" in seen for seen in alerts[:17])


def test_a_stop_is_written_down_before_it_is_raised(tmp_path: Path) -> None:
    log = log_to(tmp_path)
    with pytest.raises(UserError, match="(?s)stage zero, step 1, .*stale_weights: .*2 updates.*stale_weights=warn"):
        log.append(row(1, **{"sampling/weights_lag": 2}))
    [written] = read_metrics(log.path)
    assert set(written["alerts"]) == {"stale_weights"}
    with pytest.raises(UserError):
        log_to(tmp_path).append(row(2, **{"sampling/weights_lag": 2}))  # again when it was not put right


def test_the_report_lists_what_was_seen_with_remedies(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('name = "r"\n[stage.zero]\nkind = "rl"\n')
    log = log_to(tmp_path / "stages/zero")
    for step in range(1, 5):
        log.append(row(step, kl=3.0 if step > 2 else 0.1))
    html = warnings(collect(tmp_path).stages)
    assert "<b>high_kl</b> in zero, 2 times from step 3 to 4" in html and "raise beta" in html
    assert warnings([]) == ""


def test_waiting_is_measured() -> None:
    steps = Waited(iter([1, 2]))
    assert list(steps) == [1, 2] and set(steps.take_times()) == {"time/data", "time/step"}


def test_the_terminal_explains_what_it_shows() -> None:
    assert any(line.startswith("  loss: The loss starts at 0 in GRPO, and that is normal:") for line in legend("rl"))
    assert all(len(line) < 220 and line.endswith(".") for kind in LEGEND for line in legend(kind))
    assert legend("evaluate") == []


def test_the_documentation_names_every_watchdog_and_only_tests_that_exist() -> None:
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    table = text[text.index("## Watchdogs and faults") :]
    assert set(WATCHDOGS) <= set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert set(re.findall(r"`(test_\w+)`", table)) <= set(re.findall(r"def (test_\w+)", tests))


# -- every wait has an end ----------------------------------------------------------------------------------------

WAITS = re.compile(r"subprocess\.(run|check_\w+|call)$|\.communicate$|urlopen$")


def endless_waits(path: Path) -> list[str]:
    """Calls that wait for another program or machine and have no timeout."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    waits = [call for call in calls if WAITS.search(ast.unparse(call.func))]
    endless = [call for call in waits if not {word.arg for word in call.keywords} & {"timeout", None}]
    return [f"{path.name}:{call.lineno}: {ast.unparse(call.func)}" for call in endless]


def test_nothing_waits_for_another_process_without_a_timeout() -> None:
    package = Path(r1kit.__file__).parent
    assert [wait for path in sorted(package.rglob("*.py")) for wait in endless_waits(path)] == []

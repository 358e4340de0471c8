"""The studies run as documented, with tiny sizes, and their results have what the tables show."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from paths import ROOT

pytestmark = pytest.mark.slow
STUDIES = sorted(set(re.findall(r"studies/(\w+)\.py --seeds", (ROOT / "docs/studies.md").read_text(encoding="utf-8"))))


@pytest.fixture
def results_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The program that collects results, looking for them in `tmp_path`."""
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    page = importlib.import_module("page")
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    return page


def run(name: str, out: Path) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, str(ROOT / f"studies/{name}.py"), "--tiny", "--seeds", "3", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out)
    assert done.returncode == 0, done.stderr
    content = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    assert content["command"] == f"python studies/{name}.py --tiny --seeds 3"
    (result,) = content["results"]
    return done.stdout, result


def check_arms(result: dict[str, Any], problems: int) -> None:
    for arm in result["arms"].values():
        assert len(arm["accuracy"]) == problems and all(0 <= share <= 1 for share in arm["accuracy"])
        assert arm["answering"] > 0


def test_documented_studies_exist() -> None:
    assert STUDIES == ["mcts", "prm", "slow_rewards", "third_language"]


def test_prm_compares_at_equal_compute_and_shows_both_rewards(tmp_path: Path, results_page: ModuleType) -> None:
    page, result = run("prm", tmp_path)
    assert results_page.section("mcts") == "" and page.strip() in results_page.section("prm")
    check_arms(result, problems=9)
    assert result["labels"]["steps"] >= result["labels"]["solutions"] == 3 * 3 * 2
    assert result["arms"]["best of 2 by PRM"]["training"] > 0 == result["arms"]["one sample"]["training"]
    for rl in result["rl"].values():
        assert all(set(row) >= {"reward", "accuracy", "length"} for row in rl["steps"])
    assert 0 < result["rl"]["PRM"]["value"] < 1 and result["rl"]["PRM"]["examples"]
    assert all(name in page for name in result["arms"])


def test_mcts_compares_expansion_limits_and_ways_to_train(tmp_path: Path) -> None:
    page, result = run("mcts", tmp_path)
    check_arms(result, problems=6)
    assert set(result["limits"]) == {"2", "4"} and len(result["solved"]) == 1
    for name in ("search", "rejection sampling", "RL"):
        assert result["arms"][f"trained by {name}, one sample"]["training"] > 0
    rivals = {"as many samples, majority vote", "as many samples, best by the value model"}
    assert rivals <= set(result["arms"]), "without the number of samples, which differs by seed"
    assert all(name in page for name in result["arms"])


def test_third_language_tells_where_every_word_is_from(tmp_path: Path) -> None:
    page, result = run("third_language", tmp_path)
    for by_language in result.values():
        assert list(by_language) == ["en", "zh", "de"]
        for row in by_language.values():
            assert sum(row[kind] for kind in ("en", "zh", "de", "mixed", "no words")) == pytest.approx(1, abs=1e-3)
    assert page.count("| R1-Zero |") == 3


def test_slow_rewards_measures_three_ways(tmp_path: Path) -> None:
    page, result = run("slow_rewards", tmp_path)
    (times,) = result["times"].values()
    assert list(times) == ["after", "beside", "ahead"]
    assert all(each["step"] >= each["update"] > 0 for each in times.values())
    assert page.count("\n| 0.01 |") == 3

"""Opening a sandbox: every tier is one file, tiers are tried in order, and the canary attacks decide."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from r1kit.errors import UserError
from r1kit.rewards.sandbox import NATIVE, TIERS, canaries, open_sandbox, require_sandbox, survey, tiers
from r1kit.rewards.sandbox.base import InfraError, Sandbox
from r1kit.types import SandboxTier


@pytest.fixture
def wasm() -> Iterator[Sandbox]:
    opened = open_sandbox("wasm")
    yield opened
    opened.close()


@pytest.fixture
def impossible_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = replace(canaries.CONTROL, name="impossible", required_status="infra_error")
    monkeypatch.setattr(canaries, "ATTACKS", (attack,))


def test_every_tier_has_a_file_of_its_name() -> None:
    files = {path.stem for path in Path(tiers.__path__[0]).glob("*.py")} - {"__init__"}
    assert files == set(get_args(SandboxTier)) == {*TIERS, "none"}
    assert TIERS == ("wasm", "namespaces", "landlock") and NATIVE == ("namespaces", "landlock")


@pytest.mark.parametrize("name", get_args(SandboxTier))
def test_open_tier_returns_the_tier_of_that_name(name: str) -> None:
    try:
        sandbox = import_module(f"r1kit.rewards.sandbox.tiers.{name}").open_tier()
    except (UserError, InfraError) as error:
        pytest.skip(str(error))
    assert sandbox.name == name
    sandbox.close()


@pytest.mark.slow
def test_the_canaries_detect_a_sandbox_without_protection(wasm: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = [a for a in canaries.ATTACKS if a.name.startswith(("reading a", "writing", "connecting", "running a p"))]
    monkeypatch.setattr(canaries, "ATTACKS", harmless)
    with canaries.planted() as host:
        assert canaries.escapes(wasm, host) == []
        assert len(canaries.escapes(open_sandbox("none"), host)) == len(harmless) == 4


def test_an_unknown_tier_is_refused_with_the_allowed_names() -> None:
    with pytest.raises(UserError, match="use auto, wasm, namespaces, landlock, or none"):
        open_sandbox("docker")


@pytest.mark.usefixtures("impossible_attack")
@pytest.mark.slow
def test_the_error_has_a_reason_for_every_tier_that_fails() -> None:
    with pytest.raises(UserError, match=r"no sandbox works here(.|\n)*wasm: did not contain: impossible"):
        open_sandbox()


@pytest.mark.usefixtures("impossible_attack")
@pytest.mark.slow
def test_the_survey_reports_tiers_that_fail() -> None:
    assert [(tier, works) for tier, works, _ in survey(build=True)] == [(tier, False) for tier in TIERS]


@pytest.mark.slow
def test_survey_and_preflight_build_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert survey()[0][:2] == ("wasm", None)
    require_sandbox("wasm")
    assert not any(tmp_path.rglob("*.cwasm"))


@pytest.mark.parametrize("open_or_require", [open_sandbox, require_sandbox])
def test_a_cache_that_cannot_be_made_is_named(
    open_or_require: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(UserError, match=r"tier wasm does not work here(.|\n)*/dev/null.*set XDG_CACHE_HOME"):
        open_or_require("wasm")


def test_a_missing_build_tool_is_named() -> None:
    code = (
        "import sys\nfrom importlib import metadata\n"
        "def version(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = version\nfrom r1kit.rewards.sandbox import open_sandbox\nopen_sandbox('wasm')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install componentize-py" in done.stderr

"""Parametrise a test with a small fixture of ours and with the public file of the same format."""

from __future__ import annotations

import pytest
from paths import ROOT, SHARED

FIXTURES = ROOT / "tests" / "fixtures"


def fixture_and_shared(package: str, *names: str) -> pytest.MarkDecorator:
    """Pass `path`: each file tests/fixtures/PACKAGE/NAME, and each public file NAME, skipped if absent."""
    cases = [pytest.param(FIXTURES / package / name, id=f"fixture {name}") for name in names]
    absent = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
    cases += [pytest.param(SHARED / name, id=f"shared {name}", marks=absent) for name in names]
    return pytest.mark.parametrize("path", cases)

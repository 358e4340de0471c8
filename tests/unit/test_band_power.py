"""The simulated power of a claim's band."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from paths import ROOT


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import band_power

    return band_power


def test_intervals_cover_the_true_difference_and_narrow_with_seeds(model: ModuleType) -> None:
    few, many = (model.intervals(seeds, 1.0, 20.0, 100, draws=200) for seeds in (3, 8))
    for ends_D2 in (few, many):
        assert ends_D2.shape == (200, 2)
        assert 0.88 < np.mean((ends_D2[:, 0] < 0) & (ends_D2[:, 1] > 0)) <= 1
    widths = [np.median(ends_D2[:, 1] - ends_D2[:, 0]) for ends_D2 in (few, many)]
    assert widths[1] < 0.8 * widths[0]

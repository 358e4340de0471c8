"""Problems for recipes that read data sets: our own in the public formats, and the public ones if asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from paths import SHARED
from word_problems import write_public_formats

WANTED = SHARED.exists() and os.environ.get("R1KIT_TEST_ALL")
NEEDS_SHARED = pytest.mark.skipif(not WANTED, reason="takes minutes: needs ../shared/data and R1KIT_TEST_ALL=1")


@pytest.fixture(scope="session", params=["generated", pytest.param("shared", marks=NEEDS_SHARED)])
def data_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with gsm8k, math and mmlu_pro."""
    return SHARED if request.param == "shared" else write_public_formats(tmp_path_factory.mktemp("data"))

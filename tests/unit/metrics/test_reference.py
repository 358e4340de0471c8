"""docs/metrics.md is up to date and explains every metric and watchdog."""

from __future__ import annotations

import re

from paths import ROOT

from r1kit.metrics import reference
from r1kit.metrics.glossary import EXPLANATIONS
from r1kit.metrics.watchdogs import WATCHDOGS

PAGE = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")


def test_page_matches_the_code() -> None:
    """If this fails: python -m r1kit.metrics.reference > docs/metrics.md."""
    assert reference.render() == PAGE


def test_page_has_a_row_for_every_metric_and_watchdog() -> None:
    rows = re.findall(r"^\| `(.+?)` \|.+\w\W*\|$", PAGE, re.MULTILINE)
    assert rows == [*EXPLANATIONS, *WATCHDOGS]

"""The report in a real browser: it opens from disk, its controls work, and model output cannot run scripts."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from run_factory import HOSTILE, make_run

from r1kit.report.render import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--dump-dom",
]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]


def dom(page: Path, profile: Path) -> str:
    """Return the page's HTML after its script has run."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return write_report(make_run(tmp_path_factory.mktemp("run"), steps=40, text=HOSTILE))


def test_opens_from_disk_and_runs_only_its_own_script(report, tmp_path):
    html = dom(report, tmp_path)
    assert "<title>sprout-zero - r1kit report</title>" in html  # hostile completions try to change it
    body = html.split('<script type="application/json"')[0]
    assert "<img" not in body and "<script" not in body
    assert HOSTILE.strip() in unescape(body)
    assert body.count('<span class="think">') >= 3 and body.count('<span class="answer">') >= 3
    assert body.count("<select>") >= 6


def test_opens_for_a_planned_run(tmp_path):
    (tmp_path / "recipe.toml").write_text('name = "plan"\n[stage.zero]\nkind = "rl"\n', encoding="utf-8")
    assert "Stage zero has not started" in dom(write_report(tmp_path), tmp_path / "profile")


def test_controls_and_cursor(report, tmp_path):
    """Use the page like a reader, by a script in a copy without the content security policy."""
    script = """
      const record = (name, value) =>
        document.body.append(Object.assign(document.createElement("samp"), {textContent: name + "=" + value}));
      const [rollouts, answers] = document.querySelectorAll(".browser");
      const pick = (root, i, value) => {
        const select = root.querySelectorAll("select")[i];
        select.value = value;
        select.dispatchEvent(new Event("change"));
      };
      record("steps", rollouts.querySelectorAll("select")[0].options.length);
      record("questions", rollouts.querySelectorAll(".list button").length);
      pick(rollouts, 0, "10");
      record("step", rollouts.querySelectorAll("select")[0].value);
      pick(rollouts, 1, "countdown");
      record("countdown", rollouts.querySelectorAll(".list button").length);
      rollouts.querySelectorAll(".chips button")[2].click();
      record("third", [...rollouts.querySelectorAll(".chips button")].findIndex((b) => b.ariaCurrent === "true"));
      const before = answers.querySelector("h4").textContent;
      answers.querySelectorAll(".chips button")[1].click();
      record("moved", before !== answers.querySelector("h4").textContent);
      record("columns", answers.querySelectorAll(".columns .card").length);
      pick(answers, 2, "right");
      record("right", answers.querySelectorAll(".columns .wrong").length);
      const plot = document.querySelector("figure .plot"), box = plot.getBoundingClientRect();
      plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.right - 1, clientY: box.top + 5}));
      record("cursor", document.querySelector("figure output").textContent);
    """
    copy = tmp_path / "copy.html"
    source = report.read_text(encoding="utf-8")
    source = re.sub(r"<meta http-equiv[^>]*>", "", source).replace("</body>", f"<script>{{{script}}}</script></body>")
    copy.write_text(source, encoding="utf-8")
    recorded = dict(re.findall(r"<samp>(\w+)=([^<]*)</samp>", dom(copy, tmp_path / "profile")))
    assert recorded.pop("cursor").startswith("step 300: ")  # the pretraining loss at its last step
    assert recorded == {
        "steps": "4",
        "questions": "8",
        "step": "10",
        "countdown": "4",
        "third": "2",
        "moved": "true",
        "columns": "2",
        "right": "0",
    }

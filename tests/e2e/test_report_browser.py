"""The report in a real browser: it opens from disk, its controls work, and model output cannot run scripts."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, DESKTOP, FLAGS, PHONE, THEMES, axe_findings, chromium, in_browser, open_page
from PIL import Image
from playwright.sync_api import Page
from run_factory import HOSTILE, make_run, write_evaluation, write_lines

from r1kit.report.render import write_report

__all__ = ["chromium", "open_page"]  # fixtures
pytestmark = in_browser


def recorded(page: Page, script: str) -> dict[str, Any]:
    """Run a script in the page and return what it passed to `record(name, value)`."""
    start = "const values = {}, record = (name, value) => { values[name] = value; };"
    return page.evaluate(f"() => {{ {start} {script} return values; }}")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return write_report(make_run(tmp_path_factory.mktemp("run"), steps=40, text=HOSTILE))


def test_opens_from_disk_and_runs_only_its_own_script(report, open_page):
    html = open_page(report.as_uri()).content()
    assert "<title>sprout-zero - r1kit report</title>" in html  # hostile completions try to change it
    body = html.split('<script type="application/json"')[0]
    assert "<img" not in body and "<script" not in body
    assert HOSTILE.strip() in unescape(body)
    assert body.count('<span class="think">') >= 3 and body.count('<span class="answer">') >= 3
    assert body.count("<select>") >= 6


def test_opens_for_a_planned_run(tmp_path, open_page):
    (tmp_path / "recipe.toml").write_text('name = "plan"\n[stage.zero]\nkind = "rl"\n', encoding="utf-8")
    assert "Stage zero has not started" in open_page(write_report(tmp_path).as_uri()).content()


def test_episodes_show_who_wrote_what(tmp_path, open_page):
    run = make_run(tmp_path, steps=20)
    spans = [["assistant", "<think>a</think>b"], ["tool", "408\n409"], ["tool", HOSTILE], ["assistant", "c"]]
    path = run / "stages/after/data/samples.jsonl"
    rows = [json.loads(line) | {"spans": spans, "rewards": {"environment": 0.5}} for line in path.open()]
    write_lines(path, rows)
    page = open_page(write_report(run).as_uri())
    episode = page.locator(".episode").first
    assert episode.locator(".author").all_inner_texts() == ["turn 1", "tool", "tool", "turn 2"]
    assert episode.locator(".message .text").all_inner_texts()[0] == "408\n409"
    assert HOSTILE.strip() in episode.locator(".message .text").nth(1).text_content()
    assert episode.locator(".think").count() == 1 and "environment 0.5" in page.locator(".meta").all_inner_texts()[-1]
    assert page.title() == "sprout-zero - r1kit report"
    assert axe_findings(page) == []


def test_controls_and_cursor(report, open_page):
    script = """
      const [rollouts, answers] = document.querySelectorAll(".browser");
      const control = (root, name) =>
        [...root.querySelectorAll("label")].find((label) => label.firstChild.data === name).querySelector("select");
      const pick = (root, name, value) => {
        const select = control(root, name);
        select.value = value;
        select.dispatchEvent(new Event("change"));
      };
      record("steps", control(rollouts, "Step").options.length);
      record("questions", rollouts.querySelectorAll(".list button").length);
      pick(rollouts, "Step", "10");
      record("step", control(rollouts, "Step").value);
      pick(rollouts, "Family", "countdown");
      record("countdown", rollouts.querySelectorAll(".list button").length);
      rollouts.querySelectorAll(".chips button")[2].click();
      record("third", [...rollouts.querySelectorAll(".chips button")].findIndex((b) => b.ariaCurrent === "true"));
      const before = answers.querySelector("h3").textContent;
      answers.querySelectorAll(".list button")[1].click();
      record("moved", before !== answers.querySelector("h3").textContent);
      record("columns", answers.querySelectorAll(".columns .card").length);
      const listed = () => answers.querySelectorAll(".list button").length;
      const some = () => listed() > 0 && listed() < 40;
      pick(answers, "Model", "after");
      pick(answers, "Outcome", "right");
      record("right", some() && answers.querySelectorAll(".columns .wrong, .list .wrong").length === 0);
      pick(answers, "Outcome", "");
      pick(answers, "Answers", "wrong");
      record("wrong", some() && answers.querySelectorAll(".columns h3 .wrong").length === 1);
      pick(answers, "Model", "before");
      const meta = () => answers.querySelector(".columns .meta").textContent;
      pick(answers, "Answers", "cut");
      record("cut", some() && /truncated at the length limit/.test(meta()));
      pick(answers, "Answers", "unparsed");
      record("unparsed", some() && /extracted answernone.*reasoncut off before an answer/.test(meta()));
      for (const section of ["compare", "curves"]) {
        const plot = document.querySelector(`#${section} figure .plot`), box = plot.getBoundingClientRect();
        plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.right - 1, clientY: box.top + 5}));
        record(section, plot.closest("figure").querySelector("output").textContent);
      }
    """
    values = recorded(open_page(report.as_uri()), script)
    assert values.pop("curves").startswith("step 300: ")  # the pretraining loss at its last step
    assert re.fullmatch(r"voters 4: before 0\.\d+ · after 0\.\d+", values.pop("compare"))
    counts = {"steps": 4, "questions": 8, "step": "10", "countdown": 4, "third": 2, "columns": 2}
    assert values == counts | dict.fromkeys(("moved", "right", "wrong", "cut", "unparsed"), True)


@pytest.fixture(scope="module")
def wide_report(tmp_path_factory) -> Path:
    """Return the report of a run with five models, long names, and curves that are constant or large."""
    run = make_run(tmp_path_factory.mktemp("wide"), steps=20, text=HOSTILE + "思" * 300 + "x" * 300)
    for name in ("second", "third", "model_with_an_exceptionally_long_name_in_one_word"):
        write_evaluation(run / "stages" / name / "data", name, 0.5, random.Random(0), HOSTILE)
    rows = [
        {
            "step": step * 1000,
            "reward": 0.05 + 1e-9 * (step % 3),
            "loss": (step % 3 - 1) * 1e-9,
            "tokens": 3200 * step,
            "completions/mean_length": 3200.4 + step,
            "-huge/" + "n" * 60: -1.2345e-7 * step,
        }
        for step in range(1, 30)
    ]
    write_lines(run / "stages/steady/metrics.jsonl", rows)
    return write_report(run)


CUT_OFF = """
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const name = (node) => node.tagName + "." + (node.className.baseVal ?? node.className) + " " +
    node.textContent.trim().slice(0, 30);
  const bad = [];
  const wider = (node) => node.clientWidth > 0 && node.scrollWidth > node.clientWidth;
  for (const node of document.querySelectorAll("body *:not(svg *, .scroll, .bar, .bar *)")) {
    const style = getComputedStyle(node), box = node.getBoundingClientRect();
    if (wider(node) && !(node.matches(".number") && !wider(node.closest("td")))) bad.push(name(node));
    if (!node.closest(".scroll") && (box.left < 0 || box.right > innerWidth)) bad.push("outside " + name(node));
    if (style.overflowY === "hidden" && node.scrollHeight > node.clientHeight && style.webkitLineClamp === "none")
      bad.push("hidden " + name(node));
  }
  for (const text of document.querySelectorAll("figure text")) {
    const box = text.getBoundingClientRect(), figure = text.closest("figure").getBoundingClientRect();
    if (box.left < figure.left || box.right > figure.right || box.top < figure.top) bad.push("label " + name(text));
  }
  const tables = [...document.querySelectorAll("#compare .scroll")];
  record("width", innerWidth);
  record("scrolls", tables.filter(wider).length);
  record("page", document.documentElement.scrollWidth - innerWidth);
  record("bad", bad.join("; "));
"""


@pytest.mark.parametrize(("width", "scrolls"), [(PHONE, 1), (DESKTOP, 0)])
def test_two_models_fit_the_page(report, open_page, width, scrolls):
    """On a phone, only the table with the paper's models scrolls."""
    values = recorded(open_page(report.as_uri(), width), CUT_OFF)
    assert values == {"width": width, "scrolls": scrolls, "page": 0, "bad": ""}


@pytest.mark.parametrize("theme", THEMES)
def test_curves_of_both_models_are_visible(report, open_page, theme):
    """Look for the colours of the two curves in a picture of the plot of majority voting."""
    picture = open_page(report.as_uri(), theme=theme).locator("#compare figure .plot").first.screenshot()
    drawn = {pixel for _, pixel in Image.open(BytesIO(picture)).convert("RGB").getcolors(1 << 20)}
    style = re.findall(r"--c[12]: (#[0-9a-f]{6})", report.read_text(encoding="utf-8"))
    colours = style[2:4] if theme == "dark" else style[:2]
    assert {tuple(bytes.fromhex(colour[1:])) for colour in colours} <= drawn


def test_nothing_but_scrolling_tables_is_cut_off_on_a_phone(wide_report, open_page):
    values = recorded(open_page(wide_report.as_uri(), PHONE), CUT_OFF)
    assert values == {"width": 400, "scrolls": 2, "page": 0, "bad": ""}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("scroll", "sides"), [(0, {"right"}), (60, {"left", "right"}), (10_000, {"left"})])
def test_wide_table_has_a_shadow_where_it_goes_on(wide_report, open_page, theme, scroll, sides):
    page = open_page(wide_report.as_uri(), PHONE, theme)
    table = page.locator("#compare .scroll").first
    table.evaluate("(table, scroll) => { table.style.borderWidth = 0; table.scrollLeft = scroll; }", scroll)
    pixels = Image.open(BytesIO(table.screenshot())).convert("L")
    y = 14  # above the text of the caption, below the round corner
    middle = pixels.getpixel((200, y))
    ends = {"left": pixels.getpixel((1, y)), "right": pixels.getpixel((pixels.width - 2, y))}
    assert {side for side, value in ends.items() if abs(value - middle) > 20} == sides


def test_scrolling_table_has_a_scrollbar(wide_report, chromium):
    with chromium.browser_type.launch(
        executable_path=CHROMIUM, args=FLAGS, ignore_default_args=["--hide-scrollbars"]
    ) as browser:
        page = browser.new_page(viewport={"width": PHONE, "height": 900})
        page.goto(wide_report.as_uri())
        table = page.locator("#compare .scroll").first
        assert table.evaluate("(table) => table.offsetHeight - table.clientHeight - 2") == 9


def test_constant_curves_are_flat_and_show_their_value(wide_report, open_page):
    script = """
      for (const title of ["Reward", "Loss"]) {
        const all = [...document.querySelectorAll("figure")];
        const figure = all.findLast((node) => node.querySelector("figcaption").textContent === title);
        const curve = figure.querySelector("path[style*='--c1']");
        record(title, curve.getBoundingClientRect().height < 3);
        record(title + "Labels", [...figure.querySelectorAll("text")].map((text) => text.textContent.trim()).join(" "));
        record(title + "Note", figure.querySelector(".note").textContent.trim());
      }
    """
    values = recorded(open_page(wide_report.as_uri()), script)
    assert values["Reward"] and values["Loss"]
    assert values["RewardLabels"].split()[-2:] == ["0", "0.05"] and values["RewardNote"] == "Constant: 0.05."
    assert values["LossLabels"].split()[-1] == "0" and values["LossNote"] == "Constant: -1e-9 to 1e-9."


def test_numbers_have_no_positive_exponents(wide_report, open_page):
    script = """
      const figure = [...document.querySelectorAll("figure")].findLast((node) => /mean_length/.test(node.textContent));
      const plot = figure.querySelector(".plot"), box = plot.getBoundingClientRect();
      plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + 1, clientY: box.top + 5}));
      record("cursor", figure.querySelector("output").textContent);
      record("labels", [...figure.querySelectorAll("text")].map((text) => text.textContent.trim()).join(" "));
      record("exponents", (document.body.innerText.match(/\\d[eE]\\+?\\d+/g) ?? []).join(" "));
    """
    values = recorded(open_page(wide_report.as_uri()), script)
    assert values["cursor"] == "step 1,000: 3,201" and values["exponents"] == ""
    assert "3,2" in values["labels"] and "e" not in values["labels"]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_axe_has_no_finding(wide_report, open_page, theme, width):
    page = open_page(wide_report.as_uri(), width, theme)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert axe_findings(page) == []


def has_chinese_font() -> bool:
    listed = shutil.which("fc-list") and subprocess.run(["fc-list", ":lang=zh"], capture_output=True, check=True).stdout
    return bool(listed)


@pytest.mark.skipif(not has_chinese_font(), reason="needs a Chinese font: apt-get install fonts-noto-cjk")
def test_chinese_is_readable_in_text_and_code(report, open_page):
    """Draw four characters: without a font for them, all are the same empty box."""
    script = """
      const draw = (character, font) => {
        const canvas = Object.assign(document.createElement("canvas"), {width: 40, height: 40});
        const context = canvas.getContext("2d");
        context.font = "30px " + font;
        context.fillText(character, 2, 32);
        return canvas.toDataURL();
      };
      for (const place of ["body", "pre"]) {
        const font = getComputedStyle(document.querySelector(place)).fontFamily;
        record(place, new Set([..."加减思考"].map((character) => draw(character, font))).size);
      }
    """
    assert recorded(open_page(report.as_uri()), script) == {"body": 4, "pre": 4}

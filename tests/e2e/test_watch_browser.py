"""The live report in a real browser: a run that trains, its rollouts, and two runs over each other."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, THEMES, axe_findings, chromium, in_browser, open_page
from playwright.sync_api import Page, expect
from tiny_run import start_command, write_tiny_recipe
from watched_run import GrowingRun, watching

pytestmark = in_browser
expect.set_options(timeout=40_000)  # on a busy machine
__all__ = ["chromium", "open_page"]


@pytest.fixture
def run(tmp_path: Path) -> GrowingRun:
    return GrowingRun(tmp_path / "zero")


def figure(page: Page, title: str):
    caption = page.locator("figcaption", has_text=re.compile(f"^{title}(step .*)?$"))  # with the values at the cursor
    return page.locator("#plots figure").filter(has=caption)


def last_step(page: Page, title: str) -> int:
    """The last step that the plot's label names."""
    label = figure(page, title).locator(".plot").get_attribute("aria-label")
    return int(re.search(r"at step ([\d,]+)", label)[1].replace(",", ""))


def wait_for_step(page: Page, title: str, step: int) -> None:
    expect(figure(page, title).locator(".plot")).to_have_attribute("aria-label", re.compile(f"at step {step}:"))


def test_curves_progress_and_warnings_follow_a_run(run, open_page):
    with watching(run.path) as url:
        page = open_page(url)
        wait_for_step(page, "Reward", 10)
        expect(page).to_have_title("sprout-zero - r1kit watch")
        expect(page.locator(".run")).to_contain_text("stage 3 of 4, zero, step 10 of 60")
        expect(page.locator(".run")).to_contain_text("left of the stage")
        assert page.locator("#warnings").count() == 0
        before = figure(page, "Reward").locator(".plot path.c1").last.get_attribute("d")
        run.train(5, alerts={"cut_off": "30 % of the answers are cut off"})
        wait_for_step(page, "Reward", 15)
        assert figure(page, "Reward").locator(".plot path.c1").last.get_attribute("d") != before
        expect(page.locator(".run")).to_contain_text("step 15 of 60")
        expect(page.locator("#warnings li")).to_contain_text("30 % of the answers are cut off")
        expect(page.locator("#warnings li")).to_contain_text("raise max_completion_length")
        expect(page.locator("#news")).to_contain_text("Warning: cut_off in zero")


def test_resumed_run_that_truncates_its_log(run, open_page):
    with watching(run.path) as url:
        page = open_page(url)
        run.train(5)
        wait_for_step(page, "Reward", 15)
        log = run.stage / "metrics.jsonl"
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:8]))
        wait_for_step(page, "Reward", 8)
        with log.open("a") as half:
            half.write('{"step": 9, "rew')
        expect(page.locator(".changed")).to_have_text("changed just now")
        assert last_step(page, "Reward") == 8
        expect(page.locator("#connection")).to_be_empty()


def test_run_of_the_command_is_followed_to_its_end(tmp_path, open_page, monkeypatch):
    write_tiny_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    process = start_command("run", "--set", "stage.zero.learning_rate=0.4", "--set", "stage.zero.steps=24")
    try:
        while not (tmp_path / "run/recipe.toml").is_file():
            assert process.poll() is None, process.stderr.read()
        with watching(tmp_path / "run") as url:
            page = open_page(url)
            expect(page.locator(".state")).to_have_text("running")
            expect(figure(page, "value")).to_be_visible(timeout=60_000)
            first = last_step(page, "value")
            plot = figure(page, "value").locator(".plot")
            expect(plot).not_to_have_attribute("aria-label", re.compile(f"at step {first}:"))
            assert last_step(page, "value") > first
            expect(page.locator(".state")).to_have_text("done")
            expect(page.locator("#compare")).to_contain_text("sums")
            process.communicate(timeout=60)  # it writes the report
            shutil.rmtree(tmp_path / "run")
            expect(page.locator(".state")).to_have_text("deleted")
            expect(figure(page, "value")).to_be_visible()
    finally:
        process.terminate()
        process.communicate()


def test_rollouts_are_filtered_and_searched(run, open_page):
    with watching(run.path) as url:
        page = open_page(url)
        questions = page.locator("#rollout-list .list button")
        expect(questions).to_have_count(8)
        answers = page.locator("#rollouts").get_by_label("Answers")
        answers.select_option("cut")
        expect(questions).to_have_count(1)
        expect(page.locator("#rollout-list .text")).to_contain_text("Let me think about")
        expect(page.locator("#rollout-list .card")).to_contain_text("truncated at the length limit")
        answers.select_option("mixed")
        expect(page.locator("#rollout-list .text")).to_contain_text("先算十位")
        for answer, verdict in (("right", "correct"), ("wrong", "wrong")):
            answers.select_option(answer)
            expect(page.locator("#rollout-list .meta").last).to_contain_text(f"verdict{verdict}")
        answers.select_option("")
        page.locator("#rollouts").get_by_label("Search").fill("等于多少")
        expect(questions).to_have_count(2)
        page.locator("#rollouts").get_by_label("Search").fill("nowhere to be seen")
        expect(page.locator("#rollout-list")).to_contain_text("No completion of this step matches")


def test_new_step_replaces_the_rollouts_unless_somebody_reads(run, open_page):
    with watching(run.path) as url:
        page = open_page(url)
        step = page.get_by_label("Step", exact=True)
        expect(step).to_have_value("10")
        run.train(5)
        expect(step).to_have_value("15")
        page.locator("#rollout-list .list button").nth(2).click()
        question = page.locator("#rollout-list .card h3").text_content()
        run.train(5)
        expect(page.locator(".waiting")).to_contain_text("Step 20 has been logged.")
        expect(page.locator("#rollout-list .card h3")).to_have_text(question)
        page.get_by_role("button", name="show step 20").click()
        expect(step).to_have_value("20")
        page.get_by_role("button", name="step before").click()
        expect(step).to_have_value("15")


def test_problem_is_followed_over_the_steps_by_keyboard(run, open_page):
    run.train(20)
    with watching(run.path) as url:
        page = open_page(url)
        page.get_by_role("button", name="Follow this problem").focus()
        page.keyboard.press("Enter")
        history = page.locator(".history")
        expect(history).to_contain_text("In 3 of the logged steps.")
        assert page.evaluate("document.activeElement.textContent") == "One problem over the steps"
        expect(history.locator("tbody th")).to_have_text(["30", "20", "10"])
        expect(history.locator("figure path.curve").first).to_have_attribute("d", re.compile("M.*L.*L"))
        history.get_by_role("button", name="show step 20").click()
        expect(page.get_by_label("Step", exact=True)).to_have_value("20")
        expect(page.locator("#rollout-list .list button")).to_have_count(1)
        history.get_by_role("button", name="Close").click()
        expect(history).to_have_count(0)


def test_two_runs_lie_over_each_other(run, tmp_path, open_page):
    other = GrowingRun(tmp_path / "other", seed=1)
    other.train(10)
    with watching(run.path, other.path) as url:
        page = open_page(url)
        reward = figure(page, "reward")
        wait_for_step(page, "reward", 20)
        expect(reward.locator(".key")).to_have_text(["zero", "other"])
        assert reward.locator("path.curve.c1").count() and reward.locator("path.curve.c2.dash1").count()
        reward.locator(".plot").focus()
        page.keyboard.press("Home")
        expect(reward.locator("output")).to_have_text(re.compile(r"^step 1: zero [\d.-]+ · other [\d.-]+$"))
        page.get_by_role("checkbox", name="in the plots").nth(1).uncheck()
        expect(figure(page, "Reward").locator(".key")).to_have_text(["reward", "reward_std"])
        page.get_by_role("radio", name="other").check()
        expect(page.get_by_label("Step", exact=True)).to_have_value("20")


def test_server_that_ends_is_noticed(run, open_page):
    with watching(run.path) as url:
        page = open_page(url)
        expect(figure(page, "Reward")).to_be_visible()
    expect(page.locator("#connection")).to_contain_text("The server does not answer")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_axe_has_no_finding_and_nothing_is_wider_than_the_window(run, tmp_path, open_page, theme, width):
    run.train(10, alerts={"cut_off": "30 % of the answers are cut off"})
    with watching(run.path, GrowingRun(tmp_path / "other").path) as url:
        page = open_page(url, width, theme)
        page.get_by_role("button", name="Follow this problem").click()
        expect(page.locator(".history")).to_contain_text("of the logged steps.")
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        assert axe_findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width

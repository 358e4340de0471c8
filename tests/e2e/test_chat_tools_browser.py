"""Calls of tools on the chat page in Chromium: shown as text, answered by the reader, and part of links."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator

import pytest
from api_server import ApiServer, api_server
from browser import DESKTOP, PHONE, THEMES, OpenPage, axe_findings, chromium, in_browser, open_page
from playwright.sync_api import Locator, Page, expect

from r1kit.serve.limits import Limits
from r1kit.serve.load import read_chat_template

__all__ = ["chromium", "open_page"]  # fixtures
pytestmark = in_browser

PARAMETERS = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = json.dumps([{"type": "function", "function": {"name": "look_up", "parameters": PARAMETERS}}])
HOSTILE = "<img src=x onerror=\"document.title='taken'\"> \u202e **bold** " + "x" * 300


def calling(text: str) -> str:
    return f'<tool_call>\n{{"name": "look_up", "arguments": {json.dumps({"text": text})}}}\n</tool_call>'


@pytest.fixture(scope="module")
def server(chat_tokenizer) -> Iterator[ApiServer]:
    """Models that call until the prompt holds a result, then answer with text."""
    conversing = copy.deepcopy(chat_tokenizer)
    conversing.chat_template = read_chat_template("hermes")
    scripts = {}

    def scripted(name: str, text: str, calls: int) -> None:
        def script(_: str, __: int) -> str:
            prompt = conversing.decode(served.engines[name].seen[-1].token_ids)
            is_answered = prompt.rstrip().rpartition("<|im_start|>user")[2].lstrip().startswith("<tool_response>")
            return "It says so." if is_answered else f"Let me look.\n{calling(text) * calls}"

        scripts[name] = script

    scripted("one", "apples", 1)
    scripted("two", HOSTILE, 2)
    with api_server(conversing, scripts, Limits(max_tokens=3000), template="chat") as served:
        yield served


def start(page: Page, model: str, other: str = "", tools: str = TOOLS) -> None:
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_label("Second model").select_option(other)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Tools").fill(tools)
    page.get_by_role("button", name="Settings").click()


def ask(page: Page, question: str) -> Locator:
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    return finished(page)


def finished(page: Page) -> Locator:
    answer = page.get_by_role("article").last
    expect(answer).to_have_attribute("aria-busy", "false", timeout=30_000)
    return answer


def prompt_of(server: ApiServer, model: str) -> str:
    return server.service.models[model].tokenizer.decode(server.engines[model].seen[-1].token_ids)


def test_a_call_is_shown_and_its_result_sent(server: ApiServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    start(page, "one")
    answer = ask(page, "What are these?")
    expect(answer.get_by_text("Let me look.")).to_be_visible()
    expect(answer.locator(".call code")).to_have_text("look_up")
    expect(answer.locator(".call pre")).to_have_text('{"text": "apples"}')
    answer.get_by_label("Result").fill("<b>Fruit</b>\n<|endoftext|>")
    page.get_by_role("button", name="Send results").click()
    expect(finished(page).locator(".content")).to_have_text("It says so.")
    assert "<tool_response>\n<b>Fruit</b>\n<|endoftext|>\n</tool_response>" in prompt_of(server, "one")
    expect(page.locator(".question").last).to_have_text(re.compile("Result: <b>Fruit</b>"))
    expect(page.locator(".turn").first.get_by_label("Result")).to_be_hidden()
    ask(page, "And these?")
    prompt = prompt_of(server, "one")
    assert prompt.count('<tool_call>\n{"name": "look_up"') == 1 and "It says so." in prompt
    page.get_by_role("button", name="Copy link").last.click()
    address = page.evaluate("location.href")
    again = open_page(address)
    expect(again.locator(".question")).to_have_count(3, timeout=30_000)
    finished(again)
    assert prompt_of(server, "one") == prompt, "the link sends the same questions and results"


def test_a_question_in_place_of_results_leaves_the_calls_out(server: ApiServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    start(page, "one")
    ask(page, "What are these?")
    ask(page, "Never mind.")
    prompt = prompt_of(server, "one")
    assert "Let me look." in prompt and '{"name": "look_up", "arguments": {"text"' not in prompt


def test_two_models_get_their_own_results_and_calls_stay_text(server: ApiServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    start(page, "one", "two")
    hostile = ask(page, "What are these?")
    expect(hostile.locator(".call pre").first).to_contain_text("<img src=x onerror=")
    assert "\u202e" not in hostile.locator(".call pre").first.inner_text()
    assert page.locator(".call img, .call strong").count() == 0 and page.title() != "taken"
    fields = page.locator(".call").get_by_label("Result")
    for index, text in enumerate(["red", "green", "blue"]):
        fields.nth(index).fill(text)
    page.get_by_role("button", name="Send results").click()
    expect(finished(page).locator(".content")).to_have_text("It says so.")
    expect(page.get_by_role("article").nth(2).locator(".content")).to_have_text("It says so.")
    assert "red" in prompt_of(server, "one") and "green" not in prompt_of(server, "one")
    results = "<tool_response>\ngreen\n</tool_response>\n<tool_response>\nblue\n</tool_response>"
    assert results in prompt_of(server, "two")


def test_tools_that_are_no_list_are_refused_by_the_form(server: ApiServer, open_page: OpenPage) -> None:
    page = open_page(server.url)
    start(page, "one", tools='{"type": "function"}')
    seen = len(server.engines["one"].seen)
    page.get_by_label("Question", exact=True).fill("What are these?")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Tools")).to_be_visible()
    assert "must be a JSON list" in page.get_by_label("Tools").evaluate("field => field.validationMessage")
    assert len(server.engines["one"].seen) == seen
    page.goto(f"{server.url}/#model=one&tools=5&q=2%2B2")
    expect(page.get_by_role("status").first).to_contain_text("tools that are no JSON list")


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("theme", THEMES)
def test_axe_has_no_finding_and_nothing_is_cut_off(
    server: ApiServer, open_page: OpenPage, theme: str, width: int
) -> None:
    page = open_page(server.url, width, theme)
    start(page, "one", "two")
    ask(page, "What are these?")
    assert axe_findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

"""The chat page in Chromium, served by the API with scripted models: what a reader does and sees."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from api_server import ApiServer, Gate, api_server
from browser import DESKTOP, PHONE, THEMES, OpenPage, axe_findings, chromium, in_browser, open_page
from playwright.sync_api import Locator, Page, expect
from serve_process import serve_process

from r1kit.serve.limits import Limits
from r1kit.web.keys import ApiKeys

__all__ = ["chromium", "open_page"]  # fixtures
pytestmark = in_browser

KEY = "a-key-of-the-chat-tests"
THOUGHTS = r"Let me add: $30+40=70$ and \(7+8=15\)."
SUM = r"""The sum is **85**. It costs $5 and not $10.

$$
\sum_{i=1}^{n} i
= \frac{n(n+1)}{2}
$$

| step | result |
|---|---|
| tens | 70 |

```python
print(37 + 48)
```"""
HOSTILE = (
    r"""<img src="https://example.com/a.png" onerror="document.title='taken'">
<script>document.title='taken'</script> <iframe src="https://example.com"></iframe>
[a](javascript:document.title='taken') [b](data:text/html,x)
[c](https://example.com/c "t") ![d](https://example.com/d.png)
$\href{javascript:document.title='taken'}{x}$ $\includegraphics{https://example.com/e.png}$
$\htmlStyle{position:fixed}{y}$ \(\def\a{\a\a}\a\)
<style>body{display:none}</style> <a href="//example.com">e</a>
reversed: &#x202e;"""
    "\u202e"
)
WORDS = "x" * 400 + " " + " ".join(["word"] * 120) + r" $$a = " + " + ".join(f"b_{{{i}}}" for i in range(60)) + "$$"


def thinking(text: str, thoughts: str = THOUGHTS):
    return lambda _, __: f"<think>{thoughts}</think>\n{text}"


@pytest.fixture(scope="module")
def server(chat_tokenizer) -> Iterator[ApiServer]:
    scripts = {
        "r1": thinking(SUM),
        "base": lambda _, __: "Perhaps 85.",
        "wild": thinking(HOSTILE, HOSTILE),
        "long": thinking(WORDS, WORDS),
    }
    with api_server(chat_tokenizer, scripts, Limits(max_tokens=2000), template="chat") as served:
        yield served


def ask(page: Page, question: str) -> Locator:
    """Ask by keyboard and return the last answer."""
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    return page.get_by_role("article").last


def finished(answer: Locator) -> Locator:
    expect(answer).to_have_attribute("aria-busy", "false", timeout=30_000)
    return answer


def choose(page: Page, model: str, other: str = "") -> None:
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_label("Second model").select_option(other)


def test_question_before_the_models_are_listed_is_asked_then(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    expect(page.get_by_label("Model", exact=True).locator("option")).not_to_have_count(0)
    page.evaluate("document.querySelectorAll('#model, #other').forEach((list) => list.replaceChildren())")
    finished(ask(page, "What is 37 + 48?"))


def test_reasoning_is_streamed_and_folded_when_the_answer_begins(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    with Gate(server.engines["r1"]) as gate:
        answer = ask(page, "What is 37 + 48?")
        gate.allow(5)
        expect(answer.locator("summary")).to_contain_text("Thinking")
        expect(answer.locator(".reasoning")).to_contain_text("Let me add")
        expect(answer.locator(".amount")).to_contain_text("tokens")
        gate.allow(1000)
        finished(answer)
    expect(answer.locator("summary")).to_contain_text("Thought for")
    expect(answer.locator(".reasoning")).to_be_hidden()
    answer.locator("summary").click()
    expect(answer.locator(".reasoning .katex")).to_have_count(2)
    expect(answer.locator("strong")).to_have_text("85")
    expect(answer.locator(".content .formula.block .katex-display")).to_have_count(1)
    expect(answer.locator(".content .katex")).to_have_count(1)  # amounts of money are none
    expect(answer.locator(".facts")).to_contain_text("seed")
    expect(page.locator("#spoken")).to_contain_text("The sum is 85")


def test_escape_stops_an_answer_and_frees_its_slot(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    with Gate(server.engines["r1"]) as gate:
        answer = ask(page, "What is 37 + 48?")
        gate.allow(3)
        expect(answer.locator(".reasoning")).to_contain_text("Let")
        page.keyboard.press("Escape")
        expect(finished(answer).locator(".problem span")).to_have_text("Stopped.")
        server.wait_until(lambda: not server.engines["r1"].running)
    expect(page.get_by_label("Question", exact=True)).to_be_focused()


def test_retry_takes_another_seed_and_keeps_the_question(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    finished(ask(page, "What is 37 + 48?"))
    page.get_by_role("button", name="Retry").click()
    server.wait_until(lambda: len(page.get_by_role("article").all()) == 1)
    finished(page.get_by_role("article"))
    first, second = server.engines["r1"].seen[-2:]
    assert first.token_ids == second.token_ids and first.params.seed != second.params.seed


def test_two_models_answer_side_by_side_and_each_reads_its_own_history(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    choose(page, "r1", "base")
    ask(page, "What is 37 + 48?")
    answers = page.get_by_role("article")
    for answer in answers.all():
        finished(answer)
    left, right = (answer.bounding_box() for answer in answers.all())
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    finished(ask(page, "Are you sure?"))
    finished(answers.nth(2))
    seen = {name: server.engines[name].seen[-1] for name in ("r1", "base")}
    texts = {name: server.service.models[name].tokenizer.decode(each.token_ids) for name, each in seen.items()}
    assert "The sum is **85**" in texts["r1"] and "Perhaps" not in texts["r1"]
    assert "Perhaps 85." in texts["base"] and "The sum" not in texts["base"]
    assert seen["r1"].params.seed == seen["base"].params.seed


def test_link_asks_the_same_conversation_again(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    choose(page, "r1", "base")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("System prompt").fill("Be brief & exact.")
    page.get_by_label("Maximum tokens").fill("200")
    for question in ("What is 37 + 48?", "Why?\nIn two lines: a=b&c#d"):
        ask(page, question)
        for answer in page.get_by_role("article").all():
            finished(answer)
    page.get_by_role("button", name="Copy link").last.click()
    expect(page.locator("#notice")).to_have_text("Link copied.")
    link, asked = page.url, [server.engines[name].seen[-2:] for name in ("r1", "base")]
    texts = page.locator(".question").all_inner_texts()
    again = open_page(link)
    expect(again.locator("article[aria-busy=false]")).to_have_count(4, timeout=30_000)
    assert again.locator(".question").all_inner_texts() == texts
    for name, before in zip(("r1", "base"), asked, strict=True):
        after = server.engines[name].seen[-2:]
        assert [(each.token_ids, each.params) for each in after] == [(each.token_ids, each.params) for each in before]
    expect(again.get_by_label("Temperature")).to_have_value("0.3")
    expect(again.get_by_label("Second model")).to_have_value("base")


def test_link_gets_the_same_answer_of_a_real_model(open_page: OpenPage):
    with serve_process("sprout-base") as served:
        page = open_page(served.url)
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Temperature").fill("1.5")
        page.get_by_label("Maximum tokens").fill("60")
        text = finished(ask(page, "What is 37 + 48?")).locator(".content").inner_text()
        page.get_by_role("button", name="Copy link").click()
        expect(page.locator("#notice")).to_have_text("Link copied.")
        again = open_page(page.url).get_by_role("article")
        assert finished(again).locator(".content").inner_text() == text and text.strip()


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("#model=r1&temperature=9&q=x", "temperature = 9: must be a number from 0 to 2"),
        ("#model=r1&seed=-1&q=x", "seed = -1"),
        ("#model=r1&colour=red&q=x", "“colour”"),
        ("#q=x", "lacks a model"),
        ("#model=r1", "lacks a question"),
        ("#model=r1&" + "q=x&" * 60, "60 questions; at most 50"),
    ],
)
def test_link_that_is_wrong_asks_nothing(server: ApiServer, open_page: OpenPage, fragment: str, message: str):
    page = open_page(server.url + "/" + fragment)
    expect(page.locator("#notice")).to_contain_text(message)
    expect(page.get_by_role("article")).to_have_count(0)


def test_full_server_is_asked_again(chat_tokenizer, open_page: OpenPage):
    limits = Limits(max_concurrent=1, max_queue=0)
    with api_server(chat_tokenizer, {"r1": thinking(SUM)}, limits, template="chat") as full:
        first, second = open_page(full.url), open_page(full.url)
        with Gate(full.engines["r1"]) as gate:
            slow = ask(first, "What is 37 + 48?")
            gate.allow(2)
            expect(slow.locator(".reasoning")).not_to_be_empty()
            refused = ask(second, "And 1 + 1?")
            expect(refused.locator(".problem")).to_contain_text("The server is full. Asking again in")
            gate.allow(1000)
        finished(slow)
        expect(finished(refused).locator("strong")).to_have_text("85")
        expect(refused.locator(".problem")).to_be_hidden()


def test_server_that_is_gone_is_explained(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    page.context.set_offline(True)
    answer = finished(ask(page, "What is 37 + 48?"))
    expect(answer.locator(".problem")).to_contain_text("cannot be reached. Check that `r1kit serve` runs")
    page.context.set_offline(False)
    answer.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article").locator("strong")).to_have_text("85")


def test_refused_request_shows_the_servers_reason(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Maximum tokens").fill("5000")
    expect(finished(ask(page, "x")).locator(".problem")).to_contain_text("this server allows at most 2000")


def test_cut_off_answer_says_so(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Maximum tokens").fill("8")
    expect(finished(ask(page, "x")).locator(".problem")).to_contain_text("Cut off after 8 tokens")


def test_api_key_is_asked_for_and_kept_in_the_tab_only(chat_tokenizer, open_page: OpenPage):
    with api_server(chat_tokenizer, {"r1": thinking(SUM)}, template="chat", keys=ApiKeys([KEY])) as closed:
        page = open_page(closed.url)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert axe_findings(page) == []
        dialog.get_by_label("API key").fill("a wrong key")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("The server refused that key.")
        dialog.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        expect(page.get_by_label("Model", exact=True)).to_have_value("r1")
        expect(finished(ask(page, "x")).locator("strong")).to_have_text("85")
        page.reload()
        expect(page.get_by_label("Model", exact=True)).to_have_value("r1")
        assert page.evaluate("JSON.stringify(localStorage)").count(KEY) == 0
        expect(open_page(closed.url).get_by_role("dialog")).to_be_visible()


def test_model_of_single_questions_gets_no_history(tokenizer, open_page: OpenPage):
    with api_server(tokenizer, {"zero": thinking("<answer>85</answer>")}, template="r1-zero") as single:
        page = open_page(single.url)
        finished(ask(page, "What is 37 + 48?"))
        answer = finished(ask(page, "And 1 + 1?"))
        expect(answer.locator(".model")).to_have_text("zero · sees only this question")
        expect(answer.locator(".content")).to_have_text("85")


def test_what_a_model_writes_is_never_active(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    choose(page, "wild")
    answer = finished(ask(page, "<img src=x onerror=\"document.title='taken'\">\u202e"))
    answer.locator("summary").click()
    expect(answer.locator(".reasoning")).to_contain_text("onerror")
    expect(answer.locator(".content")).to_contain_text("<script>")
    active = "img, script, iframe, style, object, embed, [onerror], [href]:not([href^='https://example.com/'])"
    expect(page.locator("#turns").locator(active)).to_have_count(0)
    expect(answer.locator(".content a")).to_have_text(["c", "d"])
    assert re.findall("[\u202a-\u202e\ufffd]", page.locator("#turns").inner_text()) == ["\ufffd"] * 5
    assert page.title() == "r1kit chat" and hosts == {server.url.split("/")[2]}
    assert "noopener noreferrer" in answer.locator(".content a").first.get_attribute("rel")


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        (r"$x$ and $$y$$ and \(z\) and \[w\]", ["x", "y", "z", "w"]),
        (r"costs $5 and $10, or 10$ each; from $1,000 to $2,000", []),
        (r"pay $5 and then 10$ more", []),
        (r"$5-\frac12$ and $n$-th, $1$, $-1$, $2x$", [r"5-\frac12", "n", "1", "-1", "2x"]),
        ("`$x$` and\n```\n$y$\n```", []),
        (r"\$x\$ and $a\$b$", [r"a\$b"]),
        ("text\n\\[\na\n= b\n- c\n\\]\nmore", ["a\n= b\n- c"]),
        ("- item\n  $$\n  a\n  $$\n- $b$", ["a", "b"]),
        ("> $$a$$\n\n$$\nopen", ["a"]),
        (r"an open \( or $x", []),
        ("a $ b $ c", []),
    ],
)
def test_formulas_are_recognized(server: ApiServer, open_page: OpenPage, text: str, formulas: list[str]):
    show = """async (text) => {
      const { showMarkdown } = await import("/markdown.js");
      const element = document.createElement("div");
      showMarkdown(element, text);
      return [...element.querySelectorAll(".formula annotation")].map((node) => node.textContent.trim());
    }"""
    assert open_page(server.url).evaluate(show, text) == formulas


def test_everything_can_be_done_by_keyboard(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url)
    question = page.get_by_label("Question", exact=True)
    expect(page.get_by_label("Model", exact=True)).to_have_value("r1")
    expect(question).to_be_focused()
    page.keyboard.type("What is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("37 + 48?")
    page.keyboard.press("Enter")
    answer = finished(page.get_by_role("article"))
    expect(page.locator(".question")).to_have_text("What is\n37 + 48?")
    answer.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(answer.locator(".reasoning")).to_be_visible()
    page.keyboard.press("/")
    expect(question).to_be_focused()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(question).to_be_focused()
    expect(page.locator("#notice")).to_be_empty()
    page.locator(".skip").focus()
    focused: list[str] = []
    while focused[-1:] != ["send"] and len(focused) < 30:
        page.keyboard.press("Tab")
        focused.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
    assert focused[:7] == ["model", "other", "new", "theme", "adjust", "SUMMARY", "reasoning prose"]
    assert focused[-5:] == ["copy quiet", "retry", "link", "question", "send"]


def test_colours_follow_the_system_until_they_are_chosen(server: ApiServer, open_page: OpenPage):
    page = open_page(server.url, theme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(20, 21, 24)"
    page.get_by_role("button", name="Dark colours", pressed=True).click()
    assert page.evaluate(background) == "rgb(246, 246, 243)"
    page.reload()
    assert page.evaluate(background) == "rgb(246, 246, 243)"


def test_text_full_of_opening_delimiters_is_shown_soon(server: ApiServer, open_page: OpenPage):
    show = """async (text) => {
      const { showMarkdown } = await import("/markdown.js");
      const element = document.createElement("div"), start = performance.now();
      showMarkdown(element, text);
      return performance.now() - start;
    }"""
    page = open_page(server.url)
    for opening in (r"\(", r"\[" + "\n", "$", "$$ ", "[", "> ", "**a", r"$\frac" * 3):
        assert page.evaluate(show, opening * (20_000 // len(opening))) < 20_000, opening


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_settings_make_room_for_the_answer_on_a_narrow_screen(server: ApiServer, open_page: OpenPage, width: int):
    page = open_page(server.url, width)
    page.get_by_role("button", name="Settings").click()
    finished(ask(page, "What is 37 + 48?"))
    expect(page.get_by_label("Temperature")).to_be_visible(visible=width == DESKTOP)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_axe_has_no_finding(server: ApiServer, open_page: OpenPage, theme: str, width: int):
    page = open_page(server.url, width, theme)
    expect(page.get_by_label("Model", exact=True)).to_have_value("r1")
    assert axe_findings(page) == []
    choose(page, "r1", "long")
    ask(page, "What is 37 + 48?")
    for answer in page.get_by_role("article").all():
        finished(answer).locator("summary").click()
    page.context.set_offline(True)
    finished(ask(page, "And then?"))
    page.get_by_role("button", name="Settings").click()
    assert axe_findings(page) == []


@pytest.mark.parametrize("width", [PHONE, 700, 1024, 1600])
def test_nothing_is_cut_off(server: ApiServer, open_page: OpenPage, width: int):
    page = open_page(server.url, width)
    choose(page, "long", "r1")
    ask(page, "y" * 300)
    for answer in page.get_by_role("article").all():
        finished(answer).locator("summary").click()
    page.get_by_role("button", name="Settings").click()
    outside = """() => [...document.querySelectorAll("body *")].filter((node) => {
      const box = node.getBoundingClientRect();
      return (box.left < 0 || box.right > innerWidth) && !node.closest(".formula, pre, table, .hidden, .skip");
    }).map((node) => node.outerHTML.slice(0, 80))"""
    assert page.evaluate(outside) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

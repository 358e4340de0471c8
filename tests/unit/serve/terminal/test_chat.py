"""`r1kit chat` against the API with scripted models, in a pseudo-terminal and through pipes."""

from __future__ import annotations

import copy
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest
from api_server import ApiServer, Gate, api_server

from r1kit.errors import UserError
from r1kit.serve.load import read_chat_template
from r1kit.serve.terminal.conversation import MAX_ROUNDS, Conversation, Settings
from r1kit.serve.terminal.remote import RemoteModel
from r1kit.tools.builtin import tools_named
from r1kit.web.keys import ApiKeys

pytestmark = pytest.mark.slow
KEY = "a-key-of-the-chat-tests"
ANSWER = "It is 4. \x1b]0;title\x07\x1b[31mred\u202e"
SECONDS = 60


@pytest.fixture(scope="module")
def server(chat_tokenizer) -> Iterator[ApiServer]:
    script = {"r1": lambda _, __: f"<think>Two and two.</think>\n{ANSWER}"}
    with api_server(chat_tokenizer, script, template="chat") as served:
        yield served


def command(server: ApiServer, *options: str) -> list[str]:
    return [sys.executable, "-m", "r1kit", "chat", "r1", "--endpoint", f"{server.url}/v1", *options]


def answer_of(pieces) -> tuple[str, str]:
    pieces = list(pieces)
    return "".join(piece.reasoning for piece in pieces), "".join(piece.content for piece in pieces)


def test_conversation_sends_its_turns_and_retry_replaces_the_last(server: ApiServer) -> None:
    talk = Conversation(RemoteModel(f"{server.url}/v1", "r1", "NO_KEY"), Settings(system="Be brief.", seed=3))
    assert answer_of(talk.ask("2+2?")) == ("Two and two.", ANSWER)
    answer_of(talk.ask("Sure?"))
    seeds = [request.params.seed for request in server.engines["r1"].seen[-2:]]
    answer_of(talk.retry())
    last, again = server.engines["r1"].seen[-2:]
    assert seeds == [3, 3] and again.token_ids == last.token_ids and again.params.seed != 3
    text = server.service.models["r1"].tokenizer.decode(again.token_ids)
    assert text.count("Be brief.") == text.count("2+2?") == text.count("It is 4.") == text.count("Sure?") == 1
    assert [turn.question for turn in talk.turns] == ["2+2?", "Sure?"]


def test_question_without_an_answer_is_forgotten(server: ApiServer) -> None:
    talk = Conversation(RemoteModel(f"{server.url}/v1", "r1", "NO_KEY"), Settings(max_tokens=10**6))
    with pytest.raises(UserError, match="max_tokens"):
        answer_of(talk.ask("2+2?"))
    assert talk.turns == []


def test_model_of_single_questions_gets_no_history(tokenizer) -> None:
    with api_server(tokenizer, {"zero": lambda *_: "4"}, template="r1-zero") as single:
        talk = Conversation(RemoteModel(f"{single.url}/v1", "zero", "NO_KEY"), Settings())
        assert [answer_of(talk.ask(question)) for question in ("2+2?", "Sure?")] == [("", "4")] * 2
        talk.settings = Settings(system="Be brief.")
        with pytest.raises(UserError, match="room for one question only"):
            answer_of(talk.ask("2+2?"))


def test_closing_an_answer_frees_its_slot(server: ApiServer) -> None:
    talk = Conversation(RemoteModel(f"{server.url}/v1", "r1", "NO_KEY"), Settings())
    with Gate(server.engines["r1"]) as gate:
        gate.allow(2)
        pieces = talk.ask("2+2?")
        assert next(piece for piece in pieces if piece.reasoning).reasoning.startswith("T")
        pieces.close()
        server.wait_until(lambda: not server.engines["r1"].running)


@pytest.mark.parametrize(
    ("url", "name", "message"),
    [
        ("ftp://x", "r1", "must be an http:// or https:// URL"),
        ("http://127.0.0.1:9", "r1", "check that the server runs"),
        ("SERVER/v1", "r2", "has r1"),
        ("SERVER", "r1", "no such path"),
    ],
)
def test_wrong_endpoints_are_explained(server: ApiServer, url: str, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RemoteModel(url.replace("SERVER", server.url), name, "NO_KEY")


def test_key_comes_from_the_environment(chat_tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    with api_server(chat_tokenizer, {"r1": lambda *_: "4"}, template="chat", keys=ApiKeys([KEY])) as closed:
        with pytest.raises(UserError, match="set the environment variable SOME_KEY"):
            RemoteModel(f"{closed.url}/v1", "r1", "SOME_KEY")
        monkeypatch.setenv("SOME_KEY", KEY)
        talk = Conversation(RemoteModel(f"{closed.url}/v1", "r1", "SOME_KEY"), Settings())
        assert answer_of(talk.ask("2+2?")) == ("", "4")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "7", 7),
        ("seed", "", None),
        ("temperature", "0", 0),
        ("system", "Be kind.", "Be kind."),
        ("top_p", "", 0.95),
    ],
)
def test_settings_are_changed_by_texts(name: str, text: str, value: object) -> None:
    assert getattr(Settings(seed=1, top_p=0.5).changed(name, text), name) == value


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("seed", "-1", "must be at least 0"),
        ("seed", "x", "must be an integer"),
        ("temperature", "hot", "must be a number"),
        ("top_p", "0", "must be greater than 0"),
        ("max_tokens", "0", "must be at least 1"),
    ],
)
def test_settings_that_are_not_allowed_name_the_value(name: str, text: str, allowed: str) -> None:
    with pytest.raises(UserError, match=f"^{name} = {text}: {allowed}$"):
        Settings().changed(name, text)


def test_pipe_gives_the_answers_only(server: ApiServer) -> None:
    asked = "2+2?\n\n/system Be brief.\nSure?\\\nReally?\n"
    done = subprocess.run(command(server), input=asked, capture_output=True, text=True, timeout=SECONDS)
    shown = "It is 4. \ufffd]0;title\ufffd\ufffd[31mred\ufffd\n"
    assert (done.stdout, done.stderr, done.returncode) == (shown * 2, "", 0)
    text = server.service.models["r1"].tokenizer.decode(server.engines["r1"].seen[-1].token_ids)
    assert "Be brief." in text and "Sure?\nReally?" in text
    done = subprocess.run(command(server, "--reasoning"), input="2+2?", capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == f"Two and two.\n\n{shown}"


def test_pipe_ends_at_an_error(server: ApiServer) -> None:
    done = subprocess.run(command(server), input="/colour red\n2+2?\n", capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2 and done.stdout == "" and "/colour: no such command" in done.stderr


def test_pipe_refuses_what_is_no_text(server: ApiServer) -> None:
    done = subprocess.run(command(server), input=b"2+2?\xff\n", capture_output=True, timeout=SECONDS)
    assert done.returncode == 2 and b"stdin: a line is not UTF-8 text" in done.stderr


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(self, arguments: list[str]) -> None:
        self.end, of_program = os.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            arguments, stdin=of_program, stdout=of_program, stderr=of_program, env=environment, start_new_session=True
        )
        os.close(of_program)
        self.text = ""

    def type(self, text: str) -> None:
        self.text = ""
        os.write(self.end, text.encode())

    def wait_for(self, pattern: str) -> str:
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern!r} does not occur in {self.text!r}"
            self._read()
        return self.text

    def interrupt_until(self, pattern: str) -> None:
        """Press ^C, and again where nothing is printed: Python's input() misses one that arrives while it begins."""
        end = time.monotonic() + SECONDS
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, f"{pattern!r} does not occur in {self.text!r}"
            self.process.send_signal(signal.SIGINT)
            while not re.search(pattern, self.text) and self._read():
                pass

    def _read(self) -> bool:
        """Read what is printed within a second; return whether something was."""
        if not select.select([self.end], [], [], 1)[0]:
            return False
        self.text += os.read(self.end, 4096).decode()
        return True


@contextmanager
def in_terminal(arguments: list[str]) -> Iterator[Terminal]:
    terminal = Terminal(arguments)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.end)


def test_interrupt_stops_the_answer_and_not_the_program(server: ApiServer) -> None:
    with in_terminal(command(server)) as terminal:
        terminal.wait_for(r"Ask a question, or /help\.\s+> $")
        with Gate(server.engines["r1"]) as gate:
            terminal.type("2+2?\n")
            gate.allow(3)
            terminal.wait_for("\x1b\\[2mT")  # dimmed
            terminal.process.send_signal(signal.SIGINT)
            terminal.wait_for("seed \\d+, stopped")
            server.wait_until(lambda: not server.engines["r1"].running)
        terminal.type("/retry\n")
        assert "It is 4." in terminal.wait_for("seed \\d+\\)")
        terminal.type("/think\n")
        terminal.wait_for("reasoning is hidden")
        terminal.type("/temperature 3\n")
        terminal.wait_for("error: temperature = 3: ")
        terminal.type("again\n")
        assert "Two and" not in terminal.wait_for("\\d+ tokens, .* seed \\d+\\)\\S*\\s+> $")
        terminal.interrupt_until("/quit or")
        terminal.type("/quit\n")
        assert terminal.process.wait(SECONDS) == 0


def test_sigterm_ends_the_program_during_an_answer(server: ApiServer) -> None:
    with in_terminal(command(server)) as terminal, Gate(server.engines["r1"]) as gate:
        terminal.wait_for("> $")
        terminal.type("2+2?\n")
        gate.allow(3)
        terminal.wait_for("T")
        terminal.process.terminate()
        assert terminal.process.wait(SECONDS) == 130


def test_model_that_is_loaded_here_answers_as_sample_does(tmp_path: Path) -> None:
    options = ["--temperature", "0.8", "--top-p", "0.9", "--seed", "11"]
    question = "What is 37 + 48?"
    here = [sys.executable, "-m", "r1kit", "chat", "sprout-base", *options, "--max-tokens", "60", "--reasoning"]
    chatted = subprocess.run(here, input=question, capture_output=True, text=True, timeout=SECONDS)
    sampled = subprocess.run(
        [sys.executable, "-m", "r1kit", "sample", "sprout-base", question, *options, "--max-completion-length", "60"],
        capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip
    words = re.sub(r"</?(think|answer)>", "", sampled.stdout).split()
    assert chatted.stdout.split() == words and words


def test_server_that_stops_midway_is_an_error(chat_tokenizer) -> None:
    with api_server(chat_tokenizer, {"r1": lambda *_: "word " * 50}, template="chat") as served:
        talk = Conversation(RemoteModel(f"{served.url}/v1", "r1", "NO_KEY"), Settings())
        with Gate(served.engines["r1"]) as gate:
            gate.allow(2)
            pieces = talk.ask("2+2?")
            next(piece for piece in pieces if piece.content)
            served.service.worker._loop.call_soon_threadsafe(served.service.worker.cut_off)
            with pytest.raises(UserError, match="the server is stopping"):
                answer_of(pieces)
    assert talk.turns[0].content.startswith("word")


CALL = '<tool_call>\n{{"name": "calculator", "arguments": {{"expression": "{}"}}}}\n</tool_call>'
HOSTILE = CALL.format("\\u202e1/0")


@pytest.fixture
def calling_server(chat_tokenizer) -> Iterator[ApiServer]:
    """A model that calls the calculator rightly, then wrongly, then answers; and one that only calls."""
    conversing = copy.deepcopy(chat_tokenizer)
    conversing.chat_template = read_chat_template("hermes")
    answers = cycle([f"I compute.{CALL.format('6*7')}", HOSTILE, "It is 42."])
    scripts = {"r1": lambda *_: next(answers), "caller": lambda *_: HOSTILE}
    with api_server(conversing, scripts, template="chat") as served:
        yield served


def test_tools_run_here_and_the_model_goes_on(calling_server: ApiServer) -> None:
    backend = RemoteModel(f"{calling_server.url}/v1", "r1", "NO_KEY")
    talk = Conversation(backend, Settings(), tools=tools_named(["calculator"]))
    pieces = list(talk.ask("6*7?"))
    results = [result for piece in pieces for result in piece.results]
    assert [result.succeeded for result in results] == [True, False] and results[0].text == "42"
    assert talk.turns[0].content == "It is 42."
    assert [message["role"] for message in talk.turns[0].before] == ["assistant", "tool"] * 2
    list(talk.ask("Sure?"))
    served = calling_server.engines["r1"]
    text = calling_server.service.models["r1"].tokenizer.decode(served.seen[-1].token_ids)
    assert text.count("<tool_response>\n42\n</tool_response>") == 2 and "It is 42." in text
    talk.forget()
    assert talk.turns == [] and talk.session.outcomes == []
    endless = Conversation(RemoteModel(f"{calling_server.url}/v1", "caller", "NO_KEY"), Settings(), tools=talk.tools)
    with pytest.raises(UserError, match=f"called tools {MAX_ROUNDS} times"):
        list(endless.ask("6*7?"))


def test_calls_and_results_are_printed_as_text(calling_server: ApiServer) -> None:
    asked = command(calling_server, "--tool", "calculator")
    done = subprocess.run(asked, input="6*7?", capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == (
        'I compute.\ncall calculator({"expression": "6*7"})\nresult 42\n'
        'call calculator({"expression": "\ufffd1/0"})\n'
        "failed error: only numbers, + - * / // % ** and parentheses are allowed\n\nIt is 42.\n"
    )
    done = subprocess.run([*asked, "--tool", "shell"], input="", capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2 and "tool 'shell': must be one of calculator, python" in done.stderr


def test_a_model_whose_template_has_no_tools_says_so(server: ApiServer) -> None:
    talk = Conversation(RemoteModel(f"{server.url}/v1", "r1", "NO_KEY"), Settings(), tools=tools_named(["calculator"]))
    with pytest.raises(UserError, match="cannot show tools"):
        list(talk.ask("2+2?"))

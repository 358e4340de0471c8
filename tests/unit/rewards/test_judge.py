"""The judge and its client, against a real HTTP server that speaks the protocol and misbehaves on demand."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.judge import accuracy as judge
from r1kit.rewards.judge import client as endpoint
from r1kit.rewards.judge.client import Client, Endpoint, EndpointError
from r1kit.rewards.score import grade
from r1kit.types import Problem


class Server(ThreadingHTTPServer):
    """Plays `script`, one behaviour a request, the last one for ever; keeps what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.seen = ["Verdict: correct"], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def endpoint(self, **changes):
        return Endpoint(f"http://127.0.0.1:{self.server_port}/v1/", "a-model", total_timeout=3.0, **changes)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        step = self.server.script[min(len(self.server.seen), len(self.server.script) - 1)]
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))
        if step == "hang up":
            return self.connection.close()
        if step == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b" ")
                time.sleep(0.1)
        status, headers = (step, {}) if isinstance(step, int) else (200, {})
        if status == 429:
            headers = {"Retry-After": "0"}
        if status == 302:
            headers = {"Location": "http://127.0.0.1:1/elsewhere"}
        message = {"role": "assistant", "content": step}
        answer = {
            "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10},
        }
        data = {"garbage": b"<html>", "empty": b"{}", "null": b'{"choices":[{"message":{"content":null}}]}'}.get(
            step, json.dumps(answer).encode()
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)
    with Server() as running:
        yield running
        running.shutdown()


def verdict(server, said, **changes):
    server.script = said if isinstance(said, list) else [said]
    return judge.ask(Client(server.endpoint(**changes)), "Capital?", "Paris", "{gold} Verdict: correct")


@pytest.mark.parametrize(
    ("said", "status"),
    [("It is.\nVerdict: correct", "right"), ("No.\n**Verdict: incorrect**", "wrong"),
     ("Verdict: correct\nwait\nVerdict: incorrect", "wrong"),
     ("<think>Verdict: correct</think> Verdict: incorrect", "wrong"), ("I cannot say", "infra_error"),
      ("", "infra_error"),
     (["garbage", "empty", "null", 500, 429, "Verdict: correct"], "right"), (["hang up", "Verdict: correct"], "right"),
     ("garbage", "infra_error"), (500, "infra_error"), (401, "infra_error"), (302, "infra_error"),
      ("drip", "infra_error")],
)  # fmt: skip
def test_the_judge_says_right_or_wrong_and_its_failures_say_nothing(server, said, status):
    started = time.monotonic()
    found = verdict(server, said)
    assert found.status == status and found.value == float(status == "right"), found
    assert time.monotonic() - started < 20
    assert found.masked == (status == "infra_error")
    if said in (401, 302):
        assert len(server.seen) == 1 and str(said) in found.reason, "another try would not help"
    path, _, body = server.seen[0]
    assert path == "/v1/chat/completions" and body["model"] == "a-model" and body["temperature"] == 0
    assert "Paris" in body["messages"][0]["content"] and "{gold} Verdict" in body["messages"][0]["content"]


def test_no_server_is_no_verdict(server):
    place = server.endpoint(tries=2)
    server.server_close()
    with pytest.raises(EndpointError, match="gave no answer: .*refused"):
        Client(place).complete([])
    with pytest.raises(UserError, match="base_url 'file:///etc"):
        Endpoint("file:///etc", "m")


def test_answers_are_cached_counted_and_priced(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    client = Client(
        server.endpoint(cache=str(tmp_path), api_key_env="SOME_KEY", prompt_price=2.0, completion_price=10.0)
    )
    server.script = [500, "one", "two"]
    messages = [{"role": "user", "content": "hi \ud800"}]
    assert client.complete(messages, seed=1).text == "one" == client.complete(messages, seed=1).text
    usage = client.take_usage()
    assert usage == {
        "requests": 2,
        "retries": 1,
        "cached": 1,
        "prompt_tokens": 1000,
        "completion_tokens": 10,
        "cost": pytest.approx(0.0021),
    }
    assert client.take_usage() == {} and server.seen[0][1] == "Bearer secret"
    assert client.complete(messages, seed=2).text == "two", "another request"
    kept = [path for path in tmp_path.rglob("*.json")]
    assert len(kept) == 2 and not any(b"secret" in path.read_bytes() for path in kept)
    for path in kept:
        path.write_bytes(b"{")
    assert client.complete(messages, seed=1).text == "two", "a damaged entry is asked for again"


def test_problems_for_a_judge(server, monkeypatch):
    monkeypatch.setattr(services, "_settings", services.Settings(judge=server.endpoint()))
    monkeypatch.setattr(services, "_local", threading.local())
    problem = Problem("p", "Capital of France?", "Paris", "judge")
    assert grade(problem, "<think>hm</think> It is Paris.").status == "right"
    assert "hm" not in server.seen[0][2]["messages"][0]["content"].split("Answer to judge")[1], "the summary only"
    assert grade(problem, "<think>hm").status == "unparseable" and services.take_usage()["requests"] == 1

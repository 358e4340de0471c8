"""The judge and its client, against a local HTTP server that misbehaves on demand."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from r1kit.errors import UserError
from r1kit.rewards import services
from r1kit.rewards.judge import accuracy
from r1kit.rewards.judge import client as client_module
from r1kit.rewards.judge.client import Client
from r1kit.rewards.judge.endpoint import Endpoint, EndpointError
from r1kit.rewards.score import RewardError, ScoreRequest, grade
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import RewardPool
from r1kit.types import Problem

USAGE = {"prompt_tokens": 1000, "completion_tokens": 10}


class Server(ThreadingHTTPServer):
    """Plays one entry of `script` per request, the last one repeatedly, and records the requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.seen, self.times = ["Verdict: correct"], [], []
        self.retry_after = "0"
        self.lock, self.in_flight, self.most_in_flight = threading.Lock(), 0, 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def endpoint(self, **changes):
        return Endpoint(f"http://127.0.0.1:{self.server_port}/v1/", "a-model", **{"total_timeout": 60.0, **changes})


class Handler(BaseHTTPRequestHandler):
    wbufsize = -1  # a response is sent after it has left the count of those in flight

    def do_POST(self):
        with self.server.lock:
            self.server.in_flight += 1
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        try:
            self.respond()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client gave up
        finally:
            with self.server.lock:
                self.server.in_flight -= 1

    def respond(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        step = self.server.script[min(len(self.server.seen), len(self.server.script) - 1)]
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))
        self.server.times.append(time.time())
        if step == "hang up":
            self.connection.close()
            return
        if step == "sleep":
            time.sleep(0.5)
        if step == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(600):
                self.wfile.write(b" ")
                time.sleep(0.1)
        if step == "drip headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(600):
                self.wfile.write(b"X-%d: 1\r\n" % number)
                time.sleep(0.1)
        if step == "stall":
            self.send_response(200)
            self.end_headers()
            time.sleep(0.7)
            self.wfile.write(b" ")
            time.sleep(60)
            return
        if step == "flood":
            self.send_response(200)
            self.end_headers()
            for _ in range(300):
                self.wfile.write(b" " * 1000)
            return
        status = step if isinstance(step, int) else 200
        headers = {429: {"Retry-After": self.server.retry_after}, 302: {"Location": "http://127.0.0.1:1/elsewhere"}}
        message = {"role": "assistant", "content": step}
        answer = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}
        odd = {"garbage": b"<html>", "empty": b"{}", "null": b'{"choices":[{"message":{"content":null}}]}'}
        data = odd.get(step, json.dumps(answer).encode())
        self.send_response(status)
        for name, value in headers.get(status, {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 0.01)
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture
def with_judge(server):
    services.configure(Settings(judge=server.endpoint()))
    yield server
    services.configure(Settings())


def ask(server, script, **changes):
    server.script = script if isinstance(script, list) else [script]
    return accuracy.ask(Client(server.endpoint(**changes)), "Capital?", "Paris", "{gold} Verdict: correct")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("It is.\nVerdict: correct", "right"),
        ("No.\n**Verdict: incorrect**", "wrong"),
        ("Verdict: correct\nwait\nVerdict: incorrect", "wrong"),
        ("<think>Verdict: correct</think> Verdict: incorrect", "wrong"),
        ("I cannot say", "infra_error"),
        ("", "infra_error"),
        (["garbage", "empty", "null", 500, 429, "Verdict: correct"], "right"),
        (["hang up", "Verdict: correct"], "right"),
        ("garbage", "infra_error"),
        (500, "infra_error"),
        (401, "infra_error"),
        (302, "infra_error"),
    ],
)
def test_judge_verdict_follows_the_endpoint_answer(server, script, status):
    verdict = ask(server, script)
    assert verdict.status == status and verdict.value == float(status == "right"), verdict
    assert verdict.masked == (status == "infra_error")
    path, _, body = server.seen[0]
    assert path == "/v1/chat/completions" and body["model"] == "a-model" and body["temperature"] == 0
    assert "Paris" in body["messages"][0]["content"] and "{gold} Verdict" in body["messages"][0]["content"]


@pytest.mark.parametrize("status", [401, 302])
def test_permanent_errors_and_redirects_are_not_retried(server, status, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    verdict = ask(server, status)
    assert len(server.seen) == 1 and f"1 try: HTTP {status}" in verdict.reason and "secret" not in verdict.reason


@pytest.mark.parametrize("script", ["drip", "drip headers", "stall", 503, ["hang up", "drip"]])
@pytest.mark.slow
def test_all_tries_together_take_at_most_the_total_timeout(server, script):
    started = time.monotonic()
    assert ask(server, script, total_timeout=1.0, tries=1000).masked
    assert time.monotonic() - started < 30, "the server takes 60 seconds, and the tries as long as they may"


@pytest.mark.parametrize("as_date", [False, True])
@pytest.mark.slow
def test_retry_after_delays_the_next_try(server, as_date):
    date = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    server.retry_after = format_datetime(date, usegmt=True) if as_date else "1"
    assert ask(server, [429, "Verdict: correct"]).status == "right"
    earliest = date.timestamp() if as_date else server.times[0] + 1
    assert server.times[1] > earliest - 0.1


def test_retry_after_beyond_the_total_timeout_ends_the_request_at_once(server):
    server.retry_after = "120"
    started = time.monotonic()
    assert "HTTP 429" in ask(server, 429).reason
    assert time.monotonic() - started < 30 and len(server.seen) == 1


def test_size_of_an_answer_is_bounded(server, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 50_000)
    assert "more than 50000 bytes" in ask(server, "flood", tries=2).reason


def test_unreachable_server_raises(server):
    endpoint = server.endpoint(tries=2)
    server.server_close()
    with pytest.raises(EndpointError, match=r"gave no answer after 2 tries: ConnectError.*Connect call failed"):
        Client(endpoint).complete([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "file:///etc"}, "base_url = 'file:///etc': must be"),
        ({"max_concurrent": 0}, "max_concurrent = 0"),
        ({"tries": 0}, "tries = 0"),
    ],
)
def test_endpoint_rejects_impossible_settings(changes, message):
    with pytest.raises(UserError, match=message):
        Endpoint(**{"base_url": "http://host/v1", "model": "m", **changes})


def test_malformed_key_is_neither_sent_nor_shown(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "line one\nsecret")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY: must hold printable ASCII") as caught:
        Client(server.endpoint()).complete([])
    assert "secret" not in str(caught.value) and not server.seen


def test_answers_are_cached_counted_and_priced(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret")
    prices = {"prompt_price": 2.0, "completion_price": 10.0}
    client = Client(server.endpoint(cache=str(tmp_path), api_key_env="SOME_KEY", **prices))
    server.script = [500, "one", "two"]
    messages = [{"role": "user", "content": "hi \ud800"}]
    assert client.complete(messages, seed=1).text == "one" == client.complete(messages, seed=1).text
    counts = {"requests": 2, "retries": 1, "cached": 1, "cost": pytest.approx(0.0021)}
    assert client.take_usage() == {**counts, **USAGE} and client.take_usage() == {}
    assert server.seen[0][1] == "Bearer secret"
    assert client.complete(messages, seed=2).text == "two", "another seed is another request"
    cached = list(tmp_path.rglob("*.json"))
    assert len(cached) == 2 and not any(b"secret" in path.read_bytes() for path in cached)
    for path in cached:
        path.write_bytes(b"{")
    assert client.complete(messages, seed=1).text == "two", "a damaged entry is requested again"


@pytest.mark.slow
def test_threads_share_a_client_and_never_exceed_max_concurrent(server, tmp_path):
    server.script = ["sleep"]
    clients = [Client(server.endpoint(max_concurrent=3, cache=str(tmp_path), total_timeout=4.0)) for _ in range(2)]
    with ThreadPoolExecutor(12) as threads:  # the limit holds for all clients of an endpoint
        answers = list(threads.map(lambda i: clients[i % 2].complete([], seed=i).text, range(27)))
    assert answers == ["sleep"] * 27 and server.most_in_flight == 3, "waiting for a slot does not use up the timeout"
    usages = [client.take_usage() for client in clients]
    assert sum(usage["requests"] for usage in usages) == 27 and usages[0]["prompt_tokens"] == 14_000


def test_equal_requests_of_several_threads_share_a_cache_entry(server, tmp_path):
    server.script = ["sleep"]
    client = Client(server.endpoint(cache=str(tmp_path)))
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.complete([], seed=1).text, range(32)))
    assert answers == ["sleep"] * 32 and len(list(tmp_path.rglob("*"))) == 2, "one directory with one file"
    assert len(server.seen) <= 8


def test_judge_grades_problems_by_the_summary_only(with_judge):
    problem = Problem("p", "Capital of France?", "Paris", "judge")
    assert grade(problem, "<think>hm</think> It is Paris.").status == "right"
    assert "hm" not in with_judge.seen[0][2]["messages"][0]["content"].split("Answer to judge")[1]
    assert grade(problem, "<think>hm").status == "unparseable" and services.take_usage()["requests"] == 1


@pytest.mark.slow
def test_judge_of_the_settings_grades_in_worker_processes(server):
    problem = Problem("p", "Capital of France?", "Paris", "judge")
    server.script = [500, "Verdict: correct", "Verdict: incorrect"]
    one_at_a_time = Settings(judge=server.endpoint(prompt_price=1.0, max_concurrent=1))
    with RewardPool(1, settings=one_at_a_time) as pool:
        scores = pool.score_many([ScoreRequest(problem, text, {"accuracy": 1.0}) for text in ("It is Paris.", "Rome.")])
        report = pool.take_report()
    assert [score.total for score in scores] == [1.0, 0.0]
    assert report["time/judge/requests"] == 3 and report["time/judge/retries"] == 1
    assert report["time/judge/cost"] == pytest.approx(0.002) and report["grading/judge/right"] == 1


def test_no_http_library_is_imported_without_a_judge():
    code = "import sys, r1kit.rewards.grade_file, r1kit.rewards.workers.pool; print('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_missing_judge_names_the_recipe_key():
    services.configure(Settings())
    with pytest.raises(RewardError, match=r"set judge = \{ base_url = .* recipe, or give --judge-url"):
        grade(Problem("p", "Capital of France?", "Paris", "judge"), "Paris", free_form=True)

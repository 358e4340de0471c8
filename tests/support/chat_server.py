"""A local OpenAI-compatible endpoint for tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = dict[str, Any] | str | int  # a choice, which may have a usage, the text of a message, or an HTTP status


class ChatServer(ThreadingHTTPServer):
    """Answers each request by `reply(body)` and records path, key and body of all."""

    def __init__(self, reply: Callable[[dict[str, Any]], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.seen: list[tuple[str, str | None, dict[str, Any]]] = []
        self.lock, self.in_flight, self.most_in_flight = threading.Lock(), 0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen.append((self.path, self.headers.get("Authorization"), body))
            self.server.in_flight += 1
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        try:
            reply = self.server.reply(body)
        finally:
            with self.server.lock:
                self.server.in_flight -= 1
        choice = reply if isinstance(reply, dict) else {"message": {"content": reply}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, **choice.get("usage", {})}
        data = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(reply if isinstance(reply, int) else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def chat_server(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[ChatServer]:
    """Serve until the block ends."""
    with ChatServer(reply) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()

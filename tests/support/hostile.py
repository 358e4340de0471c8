"""Requests that no honest client sends: malformed, oversized, truncated, mutated. The same for the same number."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from raw_http import request

VALID: dict[str, Any] = {
    "model": "sprout-base",
    "messages": [{"role": "user", "content": "What is 2+3?"}],
    "max_tokens": 4,
    "temperature": 0.6,
    "top_p": 0.95,
    "n": 1,
    "seed": 1,
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "json_object"},
}
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**9,
    2**63,
    -(2**70),
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "\ud800",
    "\u0000",
    "🙂" * 50,
    [],
    {},
    [[]],
    [None] * 50,
    {"a": {"b": [1]}},
    ["</think>"] * 20,
    "../../etc/passwd",
]
SCHEMAS: list[Any] = [
    {"type": "nonsense"},
    {"$ref": "#"},
    {"$ref": "http://127.0.0.1/x"},
    {"pattern": "(a+)+$", "type": "string"},
    {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(700)}},
    {"type": "array", "minItems": 10**9},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"enum": ["x" * 40_000]},
]
PATHS = [
    "/", "//", "/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%00", "/v1", "/v1/models/" + "x" * 5000, "/v1/models/..",
    "/vendor/..%2f..%2fapp.py", "/%ff%fe", "/metrics/../v1/models", "/v1/completions?" + "a=b&" * 2000, "*",
    "/.git/config",
]  # fmt: skip


class Attack(NamedTuple):
    """Bytes to send, and whether the connection is half closed behind them."""

    sent: bytes
    half_close: bool = False


def attack(number: int) -> Attack:
    """Return one hostile request."""
    rng = random.Random(number)
    return Attack(rng.choice(KINDS)(rng), half_close=rng.random() < 0.1)


def _mutated(rng: random.Random) -> bytes:
    body = dict(VALID)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice([*VALID, "tools", "logit_bias", "prompt", "\u0000", "max_completion_tokens"])
        body[name] = rng.choice(VALUES)
    return request(json.dumps(body).encode(), path=rng.choice(["/v1/chat/completions", "/v1/completions"]))


def _message(rng: random.Random) -> bytes:
    message = {
        "role": rng.choice(["user", "system", "tool", 7]),
        "content": rng.choice(VALUES),
        "x": rng.choice(VALUES),
    }
    return request(json.dumps({**VALID, "messages": [message] * rng.choice([1, 2, 3000])}).encode())


def _schema(rng: random.Random) -> bytes:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": rng.choice(SCHEMAS)}}
    return request(json.dumps({**VALID, "response_format": wanted}).encode())


def _tools(rng: random.Random) -> bytes:
    """A call and its result with one or two wrong values. A server whose template has no tools refuses them all."""
    parts: dict[str, tuple[Any, list[Any]]] = {  # what is right, and what is not
        "schema": ({"type": "object"}, [*SCHEMAS, {"type": "object", "properties": {"a": rng.choice(SCHEMAS)}}]),
        "name": ("f", ["a b", "</tool_call>", *VALUES]),
        "arguments": ("{}", ["[" * 9000, "{", '{"a": 1e999}', *VALUES]),
        "id": ("c", VALUES),
        "content": ("5", ["<|im_end|>" * 9, "</tool_response>", "x" * 10**6, *VALUES]),
        "choice": (rng.choice(["auto", "required"]), [{"type": "function", "function": {"name": "g"}}, *VALUES]),
        "calls": (1, [0, 2, 200]),
        "results": (1, [0, 2, 200]),
        "tools": (1, [0, 2, 200]),
    }
    wrong = rng.sample([*parts], rng.randint(0, 2))
    part = {name: rng.choice(bad) if name in wrong else right for name, (right, bad) in parts.items()}
    tool = {"type": "function", "function": {"name": part["name"], "parameters": part["schema"]}}
    call = {"id": part["id"], "type": "function", "function": {"name": "f", "arguments": part["arguments"]}}
    result = {"role": "tool", "tool_call_id": "c", "content": part["content"]}
    turns = [{"role": "assistant", "tool_calls": [call] * part["calls"]}, *[result] * part["results"]]
    asked = {"messages": [*VALID["messages"], *turns], "tools": [tool] * part["tools"], "tool_choice": part["choice"]}
    return request(json.dumps({**VALID, "response_format": None, **asked}).encode())


def _garbled(rng: random.Random) -> bytes:
    body = bytearray(json.dumps(VALID).encode())
    for _ in range(rng.randint(1, 20)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return request(bytes(body))


def _truncated(rng: random.Random) -> bytes:
    sent = request(json.dumps(VALID).encode())
    return sent[: rng.randrange(1, len(sent))]


def _oversized(rng: random.Random) -> bytes:
    sent = request(b'{"model": "' + b"x" * rng.choice([10**6, 3 * 10**6]) + b'"}')
    return sent if rng.random() < 0.5 else sent.replace(b"Content-Length: ", b"Content-Length: 99")[:1000]


def _nested(rng: random.Random) -> bytes:
    depth = rng.choice([100, 2000, 100_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return request(b'{"model": "sprout-base", "messages": ' + opening * depth + b"1" + closing * depth + b"}")


def _noise(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(1, 3000))


def _headers(rng: random.Random) -> bytes:
    bad = ["Host: evil.example", "Origin: https://evil.example", "X: " + "y" * 60_000, "Content-Length: -1", "A" * 500]
    bad += ["Transfer-Encoding: chunked", "Content-Length: 5", "Expect: 100-continue", "Authorization: Bearer \x01"]
    bad += ["Upgrade: websocket\r\nConnection: Upgrade", "Content-Encoding: gzip", ": no name", "Content-Type: x/y"]
    return request(json.dumps(VALID).encode(), headers=rng.sample(bad, rng.randint(1, 3)))


def _chunked(rng: random.Random) -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + rng.choice(
        [b"zz\r\n", b"fffffffffffffffff\r\n", b"-5\r\nabc", b"5\r\nabc\r\n0\r\n\r\n", b"0\r\n\r\n"]
    )


def _path(rng: random.Random) -> bytes:
    method = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "G\x00T", "x" * 300])
    return request(b"", method=method, path=rng.choice(PATHS))


def _pipelined(rng: random.Random) -> bytes:
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    return one * rng.randint(2, 30) + request(json.dumps(VALID).encode())


KINDS: list[Callable[[random.Random], bytes]] = [
    _mutated, _mutated, _message, _schema, _garbled, _truncated, _oversized, _nested, _noise, _headers, _chunked, _path,
    _pipelined, _tools,
]  # fmt: skip

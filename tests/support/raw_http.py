"""A small HTTP client on asyncio that sends exactly the bytes that it is given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Reply:
    """What a server sent until it closed the connection. Status 0: nothing."""

    status: int
    headers: dict[str, str]
    body: bytes

    def events(self) -> list[str]:
        """The data of server-sent events."""
        return [line[6:].decode() for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    def texts(self) -> dict[tuple[int, str], str]:
        """The text of each (choice, part) of a streamed chat completion."""
        texts: dict[tuple[int, str], str] = {}
        for event in self.events():
            for choice in json.loads(event).get("choices", ()) if event != "[DONE]" else ():
                for name, text in choice["delta"].items():
                    if name != "role":
                        texts[choice["index"], name] = texts.get((choice["index"], name), "") + text
        return texts


def request(body: bytes, *, method: str = "POST", path: str = PATH, headers: Sequence[str] = ()) -> bytes:
    """The bytes of a request whose connection is closed after the answer."""
    given = ["Host: localhost", "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *given, *headers, "", ""]).encode() + body


def chat(**asked: Any) -> bytes:
    """The bytes of a chat request."""
    return request(json.dumps({"model": "sprout-base", **asked}).encode())


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port, limit=2**24)


async def exchange(url: str, sent: bytes, half_close: bool = False) -> Reply:
    """Send bytes and return what comes back."""
    reader, writer = await connect(url)
    try:
        writer.write(sent)
        if half_close:
            writer.write_eof()
        received = await reader.read()
    except OSError:  # reset, or closed before everything was sent
        received = b""
    finally:
        writer.close()
    return parse(received)


def parse(received: bytes) -> Reply:
    """Split a response; chunked bodies are joined."""
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/"):
        return Reply(0, {}, received)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(_chunks(body))
    return Reply(int(lines[0].split()[1]), headers, body)


def _chunks(body: bytes) -> list[bytes]:
    chunks = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        chunks.append(body[:length])
        body = body[length + 2 :]
    return chunks

"""A Hugging Face hub on this machine that holds repositories in memory: what an upload asks of the real one."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_test"


@dataclass
class Hub:
    """The repositories of a hub: name -> path -> content."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve a hub on a free port of the loopback address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self._is_allowed():
            return self._answer(401, {"error": "Invalid credentials"})
        if path == "/api/whoami-v2":
            return self._answer(200, {"name": "someone", "type": "user", "auth": {}})
        name = "/".join(path.removeprefix("/api/models/").split("/")[:2])
        if name not in self.hub.repositories:
            return self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        content = self.hub.repositories[name]
        if "/tree/" in path:
            return self._answer(
                200, [{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in content.items()]
            )
        return self._answer(
            200,
            {
                "id": name,
                "private": self.hub.private[name],
                "sha": "0" * 40,
                "siblings": [{"rfilename": p} for p in content],
            },
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self._is_allowed():
            return self._answer(401, {"error": "Invalid credentials"})
        parts = self.path.partition("?")[0].split("/")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
            self.hub.repositories[name] = {".gitattributes": b""}
            self.hub.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            return self._answer(200, {"url": f"{self.hub.url}/{name}"})
        if self.path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if "preupload" in parts:
            return self._answer(
                200,
                {
                    "files": [
                        {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                        for file in json.loads(body)["files"]
                    ]
                },
            )
        if "commit" in parts:
            name = "/".join(parts[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.hub.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self._answer(200, {"commitUrl": f"{self.hub.url}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40})
        return self._answer(404, {"error": self.path})

    def _is_allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _answer(self, code: int, value: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        for key, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(key, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...

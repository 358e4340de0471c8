"""A server with the routes of vLLM that r1kit uses. It computes with r1kit's own decoder, and can misbehave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from r1kit.engine.vllm.errors import PushError, check_names, named
from r1kit.model.decoder import Decoder
from r1kit.model.weights import hugging_face_views

Fault = Callable[["VllmServer", str, dict[str, Any]], Any]  # returns None, an HTTP status, or what to answer instead


class VllmServer(ThreadingHTTPServer):
    """Samples by the seed of a request, so that two servers with the same weights answer the same."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, model: Decoder, fault: Fault | None = None, port: int = 0, max_model_len: int = 512) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.model, self.fault, self.max_model_len = model, fault, max_model_len
        self.version = ""
        self.pushes, self.served = 0, 0
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def hang_up(self) -> None:
        """End all connections, as the end of a process does."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def update(self, directory: str, names: list[str]) -> None:
        """Load the weights that the plugin would load."""
        files = sorted(Path(directory).glob("*.safetensors"))
        weights = {name: tensor for file in files for name, tensor in load_file(file).items()}
        check_names(weights, names, directory)
        with torch.no_grad():
            for name, view in hugging_face_views(self.model).items():
                view.copy_(weights[name])
        self.pushes += 1

    @torch.no_grad()
    def generate(self, body: dict[str, Any]) -> dict[str, Any]:
        """Sample one completion."""
        asked, ids, steps = body["sampling_params"], list(body["token_ids"]), []
        generator = torch.Generator().manual_seed(asked["seed"] % 2**63)
        temperature, reason = asked["temperature"], "length"
        while len(steps) < asked["max_tokens"]:
            logits = self.model.logits(self.model(torch.tensor([ids]))[0, -1])
            logp = (logits / (temperature or 1)).log_softmax(-1)
            token = int(logp.exp().multinomial(1, generator=generator)) if temperature else int(logp.argmax())
            top = logp.topk(max(1, asked["logprobs"]))
            likely = [{"token_id": i, "logprob": p} for p, i in zip(*map(torch.Tensor.tolist, top), strict=True)]
            steps.append({"token_id": token, "logprob": float(logp[token]), "top_logprobs": likely})
            ids.append(token)
            if token in asked.get("stop_token_ids", ()):
                reason = "stop"
                break
        spans = [{"version": self.version, "start": 0, "end": len(steps)}]
        choice = {"index": 0, "token_ids": ids[len(body["token_ids"]) :], "finish_reason": reason}
        return {"choices": [{**choice, "logprobs": {"content": steps}, "weight_versions": spans}]}

    def answer(self, route: str, body: dict[str, Any]) -> Any:
        """Return the answer to a request, or an HTTP status."""
        if self.fault is not None and (faulty := self.fault(self, route, body)) is not None:
            return faulty
        if route == "/v1/models":
            return {"data": [{"id": "policy", "max_model_len": self.max_model_len}]}
        if route == "/weight_info":
            return {"weight_version": self.version}
        if route == "/weight_checker":
            assert body == {"action": "reset"}
            with torch.no_grad():
                for weight in self.model.parameters():
                    weight.zero_()
        if route == "/update_weights":
            self.update(**body["update_info"])
        if route == "/finish_weight_update":
            self.version = body["weight_version"]
        if route == "/inference/v1/generate":
            with self.lock:
                self.served += len(body["token_ids"]) > 0
                return self.generate(body)
        return {}


class _Handler(BaseHTTPRequestHandler):
    server: VllmServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"))

    def _answer(self, body: dict[str, Any]) -> None:
        try:
            answer = self.server.answer(self.path.partition("?")[0], body)
        except PushError as error:  # as vLLM does for what the plugin raises
            answer = (500, f"Call to collective_rpc method failed: {named(error)}")
        if answer == "hang up":
            self.close_connection = True
            self.connection.close()
            return
        if body.get("stream") and isinstance(answer, dict):
            self._stream(**answer["choices"][0])
            return
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, token_ids: list[int], logprobs: dict[str, Any], finish_reason: str, **last: Any) -> None:
        """Send one token at a time, as vLLM does."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for place, (token, step) in enumerate(zip(token_ids, logprobs["content"], strict=True), start=1):
            choice = {"index": 0, "token_ids": [token], "logprobs": {"content": [step]}, "finish_reason": None}
            if place == len(token_ids):
                choice |= {"finish_reason": finish_reason, **last}
            self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None: ...

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):  # hung up
            time.sleep(0)


@contextmanager
def vllm_server(model: Decoder, fault: Fault | None = None, **options: Any) -> Iterator[VllmServer]:
    """Serve until the block ends."""
    with VllmServer(model, fault, **options) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
        server.hang_up()

"""One vLLM server: requests to it, and pushes of weights. See docs/vllm.md for the routes and how to start one."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

import httpx

from r1kit.engine.vllm import errors
from r1kit.engine.vllm.errors import PushError, check_version
from r1kit.engine.vllm.proof import Probes
from r1kit.engine.vllm.samples import PROBE
from r1kit.errors import UserError

GENERATE = "/inference/v1/generate"
KEY_ENV = "VLLM_API_KEY"  # the environment variable that vLLM itself reads
HELLO_SECONDS = 10.0  # for the first answer of a server that is pushed to
PUSH_SECONDS = 600.0  # for one step of a push; the first waits for completions in flight
# A machine that is gone without a word is noticed after a minute, while a request waits for its answer.
KEEP_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]
FIRST_PAUSE, MAX_PAUSE = 0.5, 15.0  # seconds before a lost server is tried again, doubled each time


class ServerLost(Exception):
    """A server did not answer, or refused. The request is sent again, here or elsewhere."""


class ServerSlow(ServerLost):
    """A server did not answer in time."""


class WrongVersion(ServerLost):
    """A server answered with other weights than were pushed to it."""


@dataclass(frozen=True, slots=True)
class Push:
    """One version of the weights, as files, and what proves it."""

    version: str
    """What the server will call them; only the beginning of that if another process pushes."""
    directory: Path
    names: tuple[str, ...]
    probes: Probes
    is_ours: bool = True
    """Whether this process pushes. If not, another one does, and this one waits for it."""


class Server:
    """A client of one server. Several threads may share it."""

    def __init__(self, url: str) -> None:
        self.url = url
        key = os.environ.get(KEY_ENV, "").strip()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        transport = httpx.HTTPTransport(limits=limits, socket_options=KEEP_ALIVE)
        self._http = httpx.Client(base_url=url, headers=headers, transport=transport)
        self._lock = Lock()  # held while the server is brought up
        self.epoch = 0  # number of the push that was proved; 0 while the server is lost
        self.failure = ""  # why it was lost
        self.max_model_len = 0
        self.pushes = 0  # of this version, since its last good answer
        self.version = ""  # what the server calls its weights
        self._push_of, self._epochs = "", 0  # version and number of the last push
        self._next_try, self._pause = 0.0, FIRST_PAUSE

    def generate(self, asked: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Return one sample: `token_ids`, `logprobs` of each, and `finish_reason`.

        Raises:
            ServerLost: There is no usable answer within `seconds`.
            WrongVersion: Some token was sampled by other weights than those of the last push.
        """
        version = self.version
        answer = self._send("POST", GENERATE, asked, seconds)
        try:
            (choice,) = answer["choices"]
            versions = {span["version"] for span in choice["weight_versions"]}
            steps = choice["logprobs"]["content"]
            token_ids, finish_reason = list(choice["token_ids"]), choice["finish_reason"]
        except (KeyError, TypeError, ValueError) as error:
            raise ServerLost(f"{self.url}: an answer without {error}") from error
        if versions != {version}:
            raise WrongVersion(f"{self.url}: an answer by weights {sorted(versions)} instead of {version!r}")
        if not token_ids or len(steps) != len(token_ids) or finish_reason not in ("stop", "length"):
            raise ServerLost(f"{self.url}: an unfinished answer (finish_reason = {finish_reason!r})")
        self.pushes = 0
        return {"token_ids": token_ids, "steps": steps, "finish_reason": finish_reason}

    def stream(self, asked: Mapping[str, Any], seconds: float) -> Generator[dict[str, Any], None, None]:
        """Yield what `generate` returns in pieces; only the last one has a `finish_reason`.

        Closing the iterator ends the request. `seconds` is the time that a piece may take.

        Raises:
            ServerLost: There is no usable answer.
            WrongVersion: Some token was sampled by other weights than those of the last push.
        """
        version, finished = self.version, False
        try:
            with self._http.stream(
                "POST", GENERATE, json={**asked, "stream": True}, timeout=httpx.Timeout(seconds, connect=10.0)
            ) as response:
                if not response.is_success:
                    response.read()
                    raise self._refusal(response, GENERATE)
                for line in response.iter_lines():
                    data = line.removeprefix("data: ")
                    if data in ("", "[DONE]") or not json.loads(data)["choices"]:
                        continue
                    (choice,) = json.loads(data)["choices"]
                    for span in choice.get("weight_versions") or ():
                        if span["version"] != version:
                            raise WrongVersion(f"{self.url}: an answer by weights {span['version']!r}, not {version!r}")
                    finished = choice.get("finish_reason") is not None
                    ids, steps = choice.get("token_ids") or [], (choice.get("logprobs") or {}).get("content") or []
                    if len(ids) != len(steps):
                        raise ServerLost(f"{self.url}: {len(ids)} tokens with {len(steps)} log-probabilities")
                    yield {"token_ids": ids, "steps": steps, "finish_reason": choice.get("finish_reason")}
        except httpx.HTTPError as error:
            raise ServerLost(f"{self.url}{GENERATE}: {type(error).__name__}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ServerLost(f"{self.url}: a piece of an answer without {error}") from error
        if not finished:
            raise ServerLost(f"{self.url}: an answer that broke off")

    def lose(self, error: ServerLost, epoch: int) -> bool:
        """Use the server no more until weights have been pushed to it again. Return whether this is news.

        `epoch` is that of the failed request: if weights have been pushed since, nothing changes.
        """
        with self._lock:
            if self.epoch != epoch:
                return False
            self.epoch, self.failure = 0, f"{type(error).__name__}: {error}"
            self._next_try, self._pause = time.monotonic() + FIRST_PAUSE, 2 * FIRST_PAUSE
            return True

    def bring_up(self, push: Push, stop: Event) -> int:
        """Push weights to the server unless it has them. Return its epoch, or 0 if that failed or `stop` is set.

        After a failure, the next call waits first.

        Raises:
            PushError: The server took the push but does not have its weights.
        """
        with self._lock:
            if stop.is_set():  # the caller's push may have been replaced
                return 0
            if self._push_of != push.version:
                self._push_of, self.epoch, self.pushes = push.version, 0, 0
            if self.epoch or stop.wait(max(0.0, self._next_try - time.monotonic())):
                return self.epoch
            try:
                self._push(push)
            except ServerLost as error:
                self.failure = f"{type(error).__name__}: {error}"
                self._next_try = time.monotonic() + self._pause
                if push.is_ours:  # else it is only a matter of waiting for the process that pushes
                    self._pause = min(2 * self._pause, MAX_PAUSE)
                return 0
            self._epochs += 1
            self.pushes += 1
            self.epoch, self._pause = self._epochs, FIRST_PAUSE
            return self.epoch

    def is_alive(self, seconds: float) -> bool:
        """Return whether the server says that it works."""
        try:
            self._send("GET", "/health", None, seconds)
        except ServerLost:
            return False
        return True

    def abort(self, seconds: float) -> None:
        """Ask the server to stop all requests."""
        self._send("POST", "/abort_requests", {}, seconds)

    def _push(self, push: Push) -> None:
        """Replace the weights and prove it."""
        models = self._send("GET", "/v1/models", None, HELLO_SECONDS)
        self.max_model_len = int(models["data"][0]["max_model_len"])
        if push.is_ours:
            self._replace(push)
        self.version = self._send("GET", "/weight_info", None, PUSH_SECONDS)["weight_version"]
        if push.is_ours:
            check_version(self.version, push.version, self.url)
        elif not self.version.startswith(push.version):
            raise WrongVersion(f"{self.url}: the first process has not pushed version {push.version!r} yet")
        answers, pushes = [], self.pushes
        for prompt in push.probes.prompts:
            asked = {"token_ids": list(prompt), "sampling_params": dict(PROBE)}
            (step,) = self.generate(asked, PUSH_SECONDS)["steps"]
            answers.append({each["token_id"]: each["logprob"] for each in [step, *step["top_logprobs"]]})
        try:
            push.probes.check(answers, self.url)
        except PushError as error:
            if push.is_ours:
                raise
            raise WrongVersion(f"{self.url}: the first process has not pushed its weights yet") from error
        self.pushes = pushes  # an answer to a probe is none to a sample

    def _replace(self, push: Push) -> None:
        """Have the server load the weights. No request is served meanwhile, so no completion mixes two versions."""
        self._send("POST", "/pause?mode=wait", {}, PUSH_SECONDS)  # also clears the prefix cache
        # To zeros: what the update does not replace shows in the probes.
        self._send("POST", "/weight_checker", {"action": "reset"}, PUSH_SECONDS)
        try:
            self._send("POST", "/start_weight_update", {}, PUSH_SECONDS)
        except ServerLost:  # an earlier push was cut off in between
            self._send("POST", "/finish_weight_update", {}, PUSH_SECONDS)
            self._send("POST", "/start_weight_update", {}, PUSH_SECONDS)
        update = {"directory": str(push.directory), "names": list(push.names)}
        self._send("POST", "/update_weights", {"update_info": update}, PUSH_SECONDS)
        self._send("POST", "/finish_weight_update", {"weight_version": push.version}, PUSH_SECONDS)
        self._send("POST", "/resume", {}, PUSH_SECONDS)

    def _send(self, method: str, route: str, body: Mapping[str, Any] | None, seconds: float) -> Any:
        """Return the JSON answer; None if it is empty.

        Raises:
            ServerLost: Trying again may help.
            UserError: It cannot.
        """
        try:
            response = self._http.request(method, route, json=body, timeout=httpx.Timeout(seconds, connect=10.0))
        except httpx.ReadTimeout as error:
            raise ServerSlow(f"{self.url}{route}: no answer within {seconds:.0f} seconds") from error
        except httpx.HTTPError as error:
            raise ServerLost(f"{self.url}{route}: {type(error).__name__}: {error}") from error
        if response.is_success:
            try:
                return response.json() if response.content else None
            except ValueError as error:
                raise ServerLost(f"{self.url}{route}: an answer that is no JSON") from error
        raise self._refusal(response, route)

    def _refusal(self, response: httpx.Response, route: str) -> Exception:
        """Return the error that a failed request means; see `_send`."""
        reason = f"{self.url}{route}: HTTP {response.status_code}: {response.text[:500]}"
        if (named := _push_error(response.text)) is not None:
            return named(reason)
        if response.status_code in (401, 403):
            return UserError(f"{reason}: set {KEY_ENV} to the server's key")
        if response.status_code in (404, 405):
            return UserError(
                f"{reason}: start the server with VLLM_SERVER_DEV_MODE=1, --enable-scale-out and "
                "--weight-transfer-config as docs/vllm.md shows"
            )
        if response.status_code in (400, 413, 422):
            return UserError(reason)
        return ServerLost(reason)


def _push_error(text: str) -> type[PushError] | None:
    """Return the error that the plugin raised in the server, if its name is in the answer."""
    kinds = (errors.EmptyUpdate, errors.PartialUpdate, errors.StaleWeights)
    return next((kind for kind in kinds if kind.__name__ in text), None)

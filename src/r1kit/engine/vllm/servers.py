"""Generation by vLLM servers. Samples are spread over them, and those of a lost server are sampled by the others.

Every sample is one request with a seed of its own, so it does not matter which server answers, or how often it was
asked: the first answer by the right weights counts. A lost server is used again after the weights have been pushed to
it again and proved.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from r1kit.console import heartbeat, warn
from r1kit.engine.base import EngineChoice, Request, SamplingParams
from r1kit.engine.batch import PartialCompletion
from r1kit.engine.vllm.errors import check_names
from r1kit.engine.vllm.proof import Prober
from r1kit.engine.vllm.samples import Place, VllmEngine, check_lengths, places
from r1kit.engine.vllm.server import Push, Server, ServerLost
from r1kit.engine.vllm.weights import served_names, served_weights
from r1kit.errors import UserError
from r1kit.model.policy import Policy
from r1kit.types import Completion

PATIENCE = 600.0  # seconds without any server before a run ends
FIRST_TOKEN, PER_TOKEN = 120.0, 0.5  # seconds that a sample may take: for its prompt, and for every token
QUIET = 10.0  # seconds without any answer before the servers are asked whether they live
MAX_PUSHES = 4  # to one server without a usable answer between them
FILE_BYTES = 2 << 30
PUSHER = "r1kit-weights-"


class NoServer(UserError):
    """No server could be used for `PATIENCE` seconds."""


class ServersEngine(VllmEngine):
    """Generates with the vLLM servers of a recipe."""

    def __init__(
        self, model: Policy, tokenizer: PreTrainedTokenizerBase, max_concurrent: int, choice: EngineChoice
    ) -> None:
        super().__init__(model, tokenizer)
        self.servers = [Server(url) for url in choice.servers]
        self.threads = max(1, -(-max_concurrent // len(self.servers)))  # for each server
        self.folder = choice.folder or Path(tempfile.mkdtemp(prefix=PUSHER))
        self.names, self.prober = served_names(model), Prober(model)
        # Of the processes that train together, the first alone pushes.
        self.pushes = not dist.is_initialized() or dist.get_rank() == 0
        self.push: Push
        self.load_weights(model, 0)

    def load_weights(self, model: Policy, version: int) -> None:
        """See `Engine.load_weights`. Servers that are lost get the weights when they are back.

        Raises:
            PushError: A server does not have the weights afterwards.
            NoServer: All servers are lost.
        """
        probes = self.prober.probe(model)
        if version == self.version and probes.is_repeated:
            return
        self.version, name = version, f"{version}."
        if self.pushes:  # names of other runs, or of this one before it was resumed, never look like ours
            name += uuid.uuid4().hex[:12]
            check_names(_write(model, self.folder / name), self.names, str(self.folder / name))
        self.push = Push(name, self.folder / name, tuple(sorted(self.names)), probes, self.pushes)
        started, stop = time.monotonic(), Event()
        with heartbeat("pushing weights to vLLM"), ThreadPoolExecutor(len(self.servers)) as pool:
            while not any(pool.map(lambda server: server.bring_up(self.push, stop), self.servers)):
                if time.monotonic() - started > PATIENCE:
                    raise self._no_server()
        for other in self.folder.iterdir() if self.pushes else ():
            if other.name != name:
                shutil.rmtree(other, ignore_errors=True)

    def finished(self, requests: Sequence[Request], params: SamplingParams) -> Iterator[tuple[int, Completion]]:
        """See `Engine.finished`.

        Raises:
            NoServer: All servers are lost.
            PushError: A server that was lost does not have the weights that were pushed to it again.
        """
        limit = min(server.max_model_len for server in self.servers if server.max_model_len)
        check_lengths(requests, params, limit, "vLLM servers")
        yield from _Call(self, requests, params).completions()

    def _no_server(self) -> NoServer:
        reasons = "".join(f"\n{server.url}: {server.failure}" for server in self.servers)
        return NoServer(
            f"no vLLM server could be used for {PATIENCE:.0f} seconds. Start one, and run the same command again to "
            f"continue{reasons}"
        )


class _Call:
    """One call of `finished`: a queue of samples, and threads that have them sampled."""

    def __init__(self, engine: ServersEngine, requests: Sequence[Request], params: SamplingParams) -> None:
        self.engine, self.requests, self.params, self.push = engine, requests, params, engine.push
        self.missing = set(places(requests))
        self.waiting: SimpleQueue[Place | None] = SimpleQueue()  # None ends a thread
        self.in_flight: dict[Server, list[Place]] = {server: [] for server in engine.servers}
        self.results: SimpleQueue[tuple[Place, PartialCompletion] | BaseException] = SimpleQueue()
        self.stop = Event()
        self.alive = time.monotonic()  # when some server was last known to work
        self.seconds = FIRST_TOKEN + PER_TOKEN * params.max_tokens

    def completions(self) -> Iterator[tuple[int, Completion]]:
        """Yield every sample once."""
        engine = self.engine
        for place in places(self.requests):
            self.waiting.put(place)
        threads = [
            Thread(target=self._work, args=(server,), name=f"vllm {server.url}", daemon=True)
            for server in engine.servers
            for _ in range(min(engine.threads, len(self.missing)))
        ]
        for thread in threads:
            thread.start()
        try:
            while self.missing:
                try:
                    result = self.results.get(timeout=QUIET)
                except Empty:
                    self._look_after_servers()
                    continue
                if isinstance(result, BaseException):
                    raise result
                place, partial = result
                self.alive = time.monotonic()
                if place in self.missing:  # else another server answered first
                    self.missing.remove(place)
                    yield place.request, engine.completion(partial)
        finally:
            self.stop.set()
            for _ in threads:
                self.waiting.put(None)
            for server in engine.servers if self.missing else ():
                with suppress(ServerLost, UserError):
                    server.abort(seconds=5.0)

    def _work(self, server: Server) -> None:
        """Have samples sampled by one server until the call ends. Pass on what is raised."""
        try:
            self._sample_until_stopped(server)
        except UserError as error:
            self.results.put(error)
        finally:
            if (bug := sys.exception()) is not None:  # else the call would wait for this thread's samples
                self.results.put(bug)

    def _sample_until_stopped(self, server: Server) -> None:
        while not self.stop.is_set():
            if not server.bring_up(self.push, self.stop):
                continue
            if server.pushes > MAX_PUSHES:
                raise UserError(
                    f"{server.url}: weights were pushed {server.pushes} times without a usable answer "
                    f"({server.failure}): only one run at a time may push weights to a server"
                )
            place = self.waiting.get()
            if place is None:
                return
            if not (epoch := server.epoch):  # lost while this thread waited
                self.waiting.put(place)
            elif place in self.missing:
                self._sample(server, place, epoch)

    def _sample(self, server: Server, place: Place, epoch: int) -> None:
        request = self.requests[place.request]
        self.in_flight[server].append(place)
        try:
            answer = server.generate(self._asked(request, place.sample), self.seconds)
        except ServerLost as error:
            # A request that was aborted because the call ends says nothing of the server.
            if not self.stop.is_set() and server.lose(error, epoch):
                warn(f"{error}; its samples are sampled again")
            self.waiting.put(place)
            return
        finally:
            self.in_flight[server].remove(place)
        partial = PartialCompletion(place.request, request.prompt_id, place.sample)
        self.engine.extend(partial, answer["token_ids"], [x["logprob"] for x in answer["steps"]], self.params)
        self.results.put((place, partial))

    def _asked(self, request: Request, sample: int) -> dict[str, Any]:
        asked = self.engine.asked(request, sample, self.params)
        if self.params.stop:  # the server stops early; where exactly is decided here
            asked |= {"stop": list(self.params.stop), "include_stop_str_in_output": True, "detokenize": True}
        return {"token_ids": list(request.token_ids), "sampling_params": asked}

    def _look_after_servers(self) -> None:
        """Have samples sampled elsewhere that wait for a server which does not even say that it lives."""
        for server in self.engine.servers:
            if (epoch := server.epoch) and not server.is_alive(QUIET):
                server.lose(ServerLost(f"{server.url}: no answer, not even to /health"), epoch)
                for place in [*self.in_flight[server]]:
                    self.waiting.put(place)
            elif epoch:
                self.alive = time.monotonic()
        if time.monotonic() - self.alive > PATIENCE:
            raise self.engine._no_server()


def _write(model: Policy, directory: Path) -> list[str]:
    """Write all weights to safetensors files, at most FILE_BYTES each, and return their names."""
    directory.mkdir(parents=True)
    names: list[str] = []
    part: dict[str, Tensor] = {}
    for name, weight in served_weights(model):
        if part and sum(x.nbytes for x in part.values()) + weight.nbytes > FILE_BYTES:
            _write_part(part, directory)
        part[name] = weight.to("cpu", copy=True).contiguous()
        names.append(name)
    _write_part(part, directory)
    return names


def _write_part(part: dict[str, Tensor], directory: Path) -> None:
    save_file(part, directory / f"{len(list(directory.iterdir())):05d}.safetensors")
    part.clear()

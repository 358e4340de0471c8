"""A live engine with vLLM servers: every sample is one stream, from the server with the fewest."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import Empty, SimpleQueue
from threading import Event, Lock
from typing import Any

from transformers import PreTrainedTokenizerBase

from r1kit.engine.base import EngineChoice
from r1kit.engine.live.base import LiveDelta, LiveRequest, check_request
from r1kit.engine.live.draw import LiveSample
from r1kit.engine.live.vllm_samples import Step, asked_of, extend, structure
from r1kit.engine.vllm.server import Server, ServerLost
from r1kit.engine.vllm.servers import FIRST_TOKEN, ServersEngine
from r1kit.errors import UserError
from r1kit.model.policy import Policy

STEP_SECONDS = 0.05  # that `step` waits for tokens


class ServersLiveEngine:
    """Streams from the vLLM servers of a recipe, after the weights have been pushed to them."""

    def __init__(
        self, model: Policy, tokenizer: PreTrainedTokenizerBase, max_concurrent: int, choice: EngineChoice
    ) -> None:
        self.engine = ServersEngine(model, tokenizer, max_concurrent, choice)
        self.tokenizer, self.vocabulary = tokenizer, len(model.head_weight)
        self.context_length = min(s.max_model_len for s in self.engine.servers if s.max_model_len)
        self.pool = ThreadPoolExecutor(max_concurrent, "vllm stream")
        self.running: dict[int, LiveSample] = {}  # by number
        self.pieces: SimpleQueue[tuple[int, dict[str, Any] | Exception]] = SimpleQueue()
        self.streams: Counter[Server] = Counter()
        self.lock, self.numbers = Lock(), 0

    @property
    def has_work(self) -> bool:
        """See `LiveEngine.has_work`."""
        return bool(self.running)

    def add(self, request: LiveRequest) -> None:
        """See `LiveEngine.add`. What only a server can refuse ends the request with an error."""
        check_request(request, self.context_length, self.vocabulary)
        structured = structure(request.constraint)
        for index in range(request.first_sample, request.first_sample + request.samples):
            self.numbers += 1
            self.running[self.numbers] = LiveSample(self.numbers, request.prompt_id, index, asked=request)
            asked = asked_of(self.engine, request, index)
            if structured is not None:
                asked["structured_outputs"] = structured
            body = {"token_ids": list(request.token_ids), "sampling_params": asked}
            self.pool.submit(self._stream, self.numbers, body)

    def cancel(self, request_id: str) -> None:
        """See `LiveEngine.cancel`. A stream is closed at its next piece."""
        self.running = {n: sample for n, sample in self.running.items() if sample.asked.id != request_id}

    def step(self) -> list[LiveDelta]:
        """See `LiveEngine.step`."""
        grown: dict[int, LiveSample] = {}
        try:
            while True:
                number, piece = self.pieces.get(timeout=0 if grown else STEP_SECONDS)
                if (sample := self.running.get(number)) is not None:
                    grown[number] = sample
                    self._extend(sample, piece)
        except Empty:
            deltas = [sample.delta(self.engine.stops) for sample in grown.values()]
        for number, delta in zip(grown, deltas, strict=True):
            if delta is not None and delta.finish_reason is not None:
                del self.running[number]
        return [delta for delta in deltas if delta is not None]

    def close(self) -> None:
        """See `LiveEngine.close`."""
        self.running = {}
        self.pool.shutdown(cancel_futures=True)

    def _extend(self, sample: LiveSample, piece: dict[str, Any] | Exception) -> None:
        if isinstance(piece, Exception):
            sample.error = piece
            return
        steps = []
        for token, step in zip(piece["token_ids"], piece["steps"], strict=True):
            likeliest = [(each["token_id"], each["logprob"]) for each in step["top_logprobs"]]
            steps.append(Step(token, step["logprob"], likeliest))
        extend(sample, steps, self.tokenizer)
        if piece["finish_reason"] is not None and sample.finish_reason(self.engine.stops) is None:
            sample.error = RuntimeError(f"the vLLM server ended the request: {piece['finish_reason']}")

    def _stream(self, number: int, body: dict[str, Any]) -> None:
        """Pass on the pieces of one sample. A server that is lost before the first piece is replaced by another."""
        tries, begun = 2 * len(self.engine.servers), False
        while number in self.running:
            server = self._least_busy()
            try:
                if not server.bring_up(self.engine.push, Event()):
                    raise ServerLost(f"{server.url}: {server.failure}")
                with closing(server.stream(body, FIRST_TOKEN)) as pieces:
                    for piece in pieces:
                        begun = True
                        self.pieces.put((number, piece))
                        if number not in self.running:
                            return
                return
            except ServerLost as error:
                server.lose(error, server.epoch)
                tries -= 1
                if begun or not tries:
                    return self.pieces.put((number, error))
            except UserError as error:
                return self.pieces.put((number, error))
            finally:
                if isinstance(bug := sys.exception(), Exception):  # else its request would wait forever
                    self.pieces.put((number, bug))
                with self.lock:
                    self.streams[server] -= 1

    def _least_busy(self) -> Server:
        with self.lock:
            usable = [server for server in self.engine.servers if server.epoch] or self.engine.servers
            server = min(usable, key=lambda each: self.streams[each])
            self.streams[server] += 1
            return server

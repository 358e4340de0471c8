"""The API in a thread of the test's process, with models whose completions are scripted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn

from r1kit.engine.live.base import LiveDelta, LiveRequest
from r1kit.engine.live.scripted import ScriptedLiveEngine
from r1kit.serve.app import make_app, open_paths
from r1kit.serve.generation import Service
from r1kit.serve.limits import MAX_BODY, Limits
from r1kit.serve.metrics import Metrics
from r1kit.serve.model import ServedModel
from r1kit.serve.worker import Worker
from r1kit.web.guard import Guard
from r1kit.web.hosting import Hosting


class SlowEngine(ScriptedLiveEngine):
    """A scripted engine whose steps wait while `paused`, and which records what it was asked."""

    def __init__(self, *args, **settings) -> None:
        super().__init__(*args, **settings)
        self.may_step = threading.Event()
        self.may_step.set()
        self.seen: list[LiveRequest] = []
        self.failure: Exception | None = None

    def add(self, request: LiveRequest) -> None:
        self.seen.append(request)
        super().add(request)

    def step(self) -> list[LiveDelta]:
        if self.failure is not None:
            raise self.failure
        if not self.may_step.is_set():
            time.sleep(0.01)
            return []
        return super().step()


class Gate:
    """Lets an engine take only as many steps as it is told to."""

    def __init__(self, engine: SlowEngine) -> None:
        self.engine, self.steps = engine, threading.Semaphore(0)

    def __enter__(self) -> Gate:
        step = self.engine.step

        def gated():
            return step() if self.steps.acquire(timeout=0.05) else []

        self.engine.step = gated
        return self

    def allow(self, steps: int) -> None:
        self.steps.release(steps)

    def __exit__(self, *_: object) -> None:
        del self.engine.step


@dataclass
class ApiServer:
    """A running server."""

    url: str
    service: Service
    engines: dict[str, SlowEngine] = field(default_factory=dict)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < end, "waited a minute"
            time.sleep(0.01)


@contextmanager
def api_server(
    tokenizer,
    scripts: Mapping[str, Callable[[str, int], str]],
    limits: Limits | None = None,
    template="r1-zero",
    keys=None,
) -> Iterator[ApiServer]:
    """Serve models with these scripts until the block ends."""
    engines = {name: SlowEngine(tokenizer, script) for name, script in scripts.items()}
    models = [ServedModel(name, tokenizer, template, engine) for name, engine in engines.items()]
    worker = Worker(engines)
    service = Service(models, worker, limits or Limits(), Metrics())
    hosting = Hosting(keys=keys) if keys is not None else Hosting()
    guard = Guard(make_app(service), hosting, MAX_BODY, open_paths())
    listener = hosting.open_socket()
    server = uvicorn.Server(uvicorn.Config(guard, log_level="warning", ws="none", http="h11"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    try:
        yield ApiServer(hosting.url(listener), service, engines)
    finally:
        for engine in engines.values():
            engine.may_step.set()
        server.should_exit = True
        thread.join(30)

"""The routes of the API, and the chat page."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import anyio.to_thread
from fastapi import Body, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from r1kit.engine.base import SamplingParams
from r1kit.errors import requirement
from r1kit.serve.answer import Answer
from r1kit.serve.constraints import constraint_of
from r1kit.serve.formats import ChatFormat, CompletionFormat
from r1kit.serve.generation import Job, Service
from r1kit.serve.metrics import CONTENT_TYPE
from r1kit.serve.model import ServedModel, ServedPrompt
from r1kit.serve.requests import ChatRequest, CompletionRequest
from r1kit.web.guard import Message, Receive, Scope, Send
from r1kit.web.refusal import Refused

if TYPE_CHECKING:
    from r1kit.web.guard import App

PAGE = Path(__file__).parent / "page"  # static files of the chat page
TEMPERATURE, TOP_P = 0.6, 0.95  # where a request names none: as `r1kit sample`
LONG_PROMPT = 10_000  # characters; a shorter one is encoded faster than a thread takes over
SEEDS = 2**31  # random seeds are below: every client can hold them
DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's default of /v1/completions


def open_paths() -> set[str]:
    """Return the paths that need no key: the health check, and the files of the chat page, which asks for a key."""
    files = {f"/{path.relative_to(PAGE).as_posix()}" for path in PAGE.rglob("*") if path.is_file()}
    return {"/", "/health", *files}


def make_app(service: Service) -> App:
    """Return the application that serves the models of a service."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        service.worker.start()
        yield
        service.worker.stop()

    app = FastAPI(title="r1kit", lifespan=running, docs_url=None, redoc_url=None)
    app.add_exception_handler(Refused, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_body)
    app.add_exception_handler(HTTPException, _refuse_route)
    _add_routes(app, service)
    _add_page(app)
    return _counting(app, service)


def _add_page(app: FastAPI) -> None:
    """Serve the chat page. No mount: at "/" it would match every path, also with a method that a route refuses."""
    page, other, paths = StaticFiles(directory=PAGE, html=True), app.router.default, open_paths()

    async def without_route(scope: Scope, receive: Receive, send: Send) -> None:
        await (page if scope["path"] in paths else other)(scope, receive, send)

    app.router.default = without_route


def _add_routes(app: FastAPI, service: Service) -> None:
    one_thread = anyio.CapacityLimiter(1)

    @app.get("/health")
    async def health() -> dict[str, str]:
        if service.worker.failure is not None:
            raise Refused(503, "the engine has failed", code="engine_failed")
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model.description() for model in service.models.values()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        return service.model(name).description()

    @app.post("/v1/chat/completions")
    async def chat(asked: Annotated[ChatRequest, Body()]) -> Response:
        model = service.model(asked.model)
        tools = [tool.for_template() for tool in asked.tools] if asked.choice.kind != "none" else []
        prompts = await _encode(lambda: [model.chat_prompt(asked.messages, tools)], asked.size, one_thread)
        job = _job(service, model, prompts, asked, asked.token_limit)
        return _answer(service, job, ChatFormat, bool(asked.logprobs), asked)

    @app.post("/v1/completions")
    async def completions(asked: Annotated[CompletionRequest, Body()]) -> Response:
        model = service.model(asked.model)
        size = sum(map(len, asked.prompts()))
        prompts = await _encode(lambda: [model.text_prompt(each) for each in asked.prompts()], size, one_thread)
        job = _job(service, model, prompts, asked, asked.token_limit or DEFAULT_COMPLETION_TOKENS)
        return _answer(service, job, CompletionFormat, asked.logprobs is not None, asked)


async def _encode(
    encode: Callable[[], list[ServedPrompt]], size: int, limiter: anyio.CapacityLimiter
) -> list[ServedPrompt]:
    """Make prompts; long ones in another thread, one after the other, so that streams go on meanwhile."""
    return encode() if size < LONG_PROMPT else await anyio.to_thread.run_sync(encode, limiter=limiter)


def _job(
    service: Service,
    model: ServedModel,
    prompts: Sequence[ServedPrompt],
    asked: ChatRequest | CompletionRequest,
    max_tokens: int | None,
) -> Job:
    """Return the job of a request, with what it leaves open."""
    params = SamplingParams(
        seed=random.randrange(SEEDS) if asked.seed is None else asked.seed,
        max_tokens=_max_tokens(service, model, prompts, max_tokens),
        temperature=TEMPERATURE if asked.temperature is None else asked.temperature,
        top_p=TOP_P if asked.top_p is None else asked.top_p,
        top_k=asked.top_k or 0,
        stop=tuple(asked.stop),
    )
    calling = model.calling(asked) if isinstance(asked, ChatRequest) else None
    return Job(
        model,
        prompts,
        params,
        n=asked.n or 1,
        top=asked.top,
        parts_reasoning=isinstance(asked, ChatRequest),
        constraint=calling.constraint if calling else constraint_of(asked.response_format),
        calling=calling,
    )


def _max_tokens(service: Service, model: ServedModel, prompts: Sequence[ServedPrompt], asked: int | None) -> int:
    """Return how many tokens a completion may have: as asked for, else as many as context and server allow."""
    most, context = service.limits.max_tokens, model.engine.context_length
    if asked is not None and asked > most:
        raise Refused(400, f"max_tokens = {asked}: this server allows at most {most}", "max_tokens")
    longest = max(len(prompt.token_ids) for prompt in prompts)
    room = context - longest
    if room < (asked or 1):
        limit = f"the context of {model.name} has {context:,} tokens"
        given = f"the prompt has {longest:,} tokens" + (f" and max_tokens = {asked:,}" if asked else "")
        raise Refused(400, f"{given}: {limit}", None if asked is None else "max_tokens", "context_length_exceeded")
    return min(most, room) if asked is None else asked


def _answer(
    service: Service,
    job: Job,
    form: type[ChatFormat] | type[CompletionFormat],
    logprobs: bool,
    asked: ChatRequest | CompletionRequest,
) -> Response:
    return Answer(service, job, form, logprobs, bool(asked.stream), asked.usage)


def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.content(), error.status, headers=error.headers)


def _refuse_body(request: Request, error: Exception) -> Response:
    """Name the first field that is wrong."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    kind, where = first["type"], [part for part in first["loc"] if part != "body"]
    if kind == "json_invalid":
        return _refuse(request, Refused(400, f"the body is not JSON: {first['ctx']['error']} at {where[0]}"))
    if not where:
        reason = "the body must be a JSON object with Content-Type: application/json"
        return _refuse(request, Refused(400, reason))
    name = _path(where)
    if kind == "missing":
        return _refuse(request, Refused(400, f"{name} is missing", name, "missing_required_parameter"))
    given = repr(first.get("input"))
    shown = given if len(given) <= 100 else f"{given[:100]}..."
    return _refuse(request, Refused(400, f"{name} = {shown}: {requirement(first['msg'])}", name))


def _path(parts: Sequence[int | str]) -> str:
    """Return a location such as messages[0].content. Names of types, which unions add, are left out."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and part not in ("str", "int"):
            text += f".{part}" if text else part
    return text


def _refuse_route(request: Request, error: Exception) -> Response:
    """Answer for unknown paths and methods, and for bodies that cannot be read, in the API's format."""
    assert isinstance(error, HTTPException)
    paths = "/v1/chat/completions, /v1/completions, /v1/models, /health, /metrics"
    headers = dict(error.headers or {})
    allowed = headers.get("Allow", "")
    reasons = {404: f"no such path; there are {paths}", 405: f"{request.method} is not allowed here; use {allowed}"}
    return _refuse(request, Refused(error.status_code, reasons.get(error.status_code, error.detail), headers=headers))


def _counting(app: Callable[..., Any], service: Service) -> App:
    """Count the status of every answer by its path."""
    known = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics")

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in known else "other"
                service.metrics.count_request(path, message["status"])
            await send(message)

        await app(scope, receive, sending)

    return counted

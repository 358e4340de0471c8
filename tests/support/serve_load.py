"""Load on `r1kit serve`: many streams, overload, hostile requests, disconnects. Each returns what it has seen."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any

from hostile import attack
from raw_http import Reply, chat, connect, exchange
from serve_process import ServeProcess

ANSWER_SECONDS = 60.0  # no answer within this time is a hang


def asked(number: int, max_tokens: int = 120, temperature: float = 1.2) -> dict[str, Any]:
    """Return the body of a request; equal for equal numbers."""
    rng = random.Random(number)
    question = f"What is {rng.randint(1, 99)}+{rng.randint(1, 99)}?"
    sampling = {"seed": number, "temperature": temperature, "top_p": 1.0, "max_tokens": max_tokens}
    return {"messages": [{"role": "user", "content": question}], **sampling}


def is_complete(reply: Reply) -> bool:
    """Whether a stream came to its end."""
    return reply.status == 200 and reply.events()[-1:] == ["[DONE]"] and '"error"' not in reply.body.decode()


async def streams(server: ServeProcess, count: int, seconds: float, different: int = 128) -> dict[str, Any]:
    """Keep `count` streams open; then ask each question alone and compare."""
    end, done, numbers = time.monotonic() + seconds, [], iter(range(10**9))

    async def client() -> None:
        while time.monotonic() < end:
            number = next(numbers) % different
            done.append((number, await exchange(server.url, chat(stream=True, **asked(number)))))

    await asyncio.gather(*(client() for _ in range(count)))
    alone = {n: (await exchange(server.url, chat(stream=True, **asked(n)))).texts() for n in {n for n, _ in done}}
    return {
        "streams": count,
        "seconds": seconds,
        "answers": len(done),
        "cut": sum(not is_complete(reply) for _, reply in done),
        "statuses": statuses(reply for _, reply in done),
        "different_from_alone": sum(reply.texts() != alone[number] for number, reply in done),
    }


async def overload(server: ServeProcess, count: int) -> dict[str, Any]:
    """Send `count` requests at the same time."""
    replies = await asyncio.gather(*(exchange(server.url, chat(stream=n % 2 == 0, **asked(n))) for n in range(count)))
    refused = [reply for reply in replies if reply.status == 429]
    return {
        "requests": count,
        "statuses": statuses(replies),
        "without_retry_after": sum("retry-after" not in reply.headers for reply in refused),
        "cut": sum(not is_complete(r) for n, r in enumerate(replies) if n % 2 == 0 and r.status == 200),
    }


async def hostile(server: ServeProcess, count: int, at_once: int = 16, warm_up: int = 300) -> dict[str, Any]:
    """Send hostile requests; the first ones before memory is measured."""
    hangs: list[int] = []

    async def send(number: int) -> Reply:
        sent, half_close = attack(number)
        try:
            return await asyncio.wait_for(exchange(server.url, sent, half_close), ANSWER_SECONDS)
        except TimeoutError:
            hangs.append(number)
            return Reply(0, {}, b"")

    await in_parallel(send, range(warm_up), at_once)
    before = server.memory
    replies = await in_parallel(send, range(warm_up, warm_up + count), at_once)
    return {
        "requests": count,
        "statuses": statuses(replies),
        "hangs": hangs,
        "memory_grown_mib": round((server.memory - before) / 2**20, 1),
        "in_flight": server.metric("r1kit_completions_in_flight"),
        "alive": is_complete(await exchange(server.url, chat(stream=True, **asked(0)))),
    }


async def disconnects(server: ServeProcess, count: int, at_once: int = 32) -> dict[str, Any]:
    """Leave after a random part of the answer."""

    async def leave(number: int) -> None:
        rng = random.Random(number)
        reader, writer = await connect(server.url)
        writer.write(chat(stream=number % 3 > 0, n=rng.randint(1, 2), **{**asked(number), "max_tokens": 1000}))
        await writer.drain()
        if number % 3:
            await reader.read(rng.choice([1, 500, 2000]))
        else:
            await asyncio.sleep(rng.random() / 5)
        writer.transport.abort()

    await in_parallel(leave, range(count), at_once)
    start = time.monotonic()
    while (left := server.metric("r1kit_completions_in_flight")) and time.monotonic() - start < 10:
        await asyncio.sleep(0.05)
    return {
        "disconnects": count,
        "seconds_until_free": round(time.monotonic() - start, 2),
        "in_flight": left,
        "cancelled": server.metric("r1kit_cancelled_total"),
        "alive": is_complete(await exchange(server.url, chat(stream=True, **asked(0)))),
    }


async def throughput(server: ServeProcess, numbers: range, at_once: int, max_tokens: int) -> float:
    """Return the completion tokens per second of streams, `at_once` of them open all the time."""
    start = time.monotonic()
    usage = {"stream": True, "stream_options": {"include_usage": True}}

    async def tokens(number: int) -> int:
        reply = await exchange(server.url, chat(**usage, **asked(number, max_tokens, 2.0)))
        return json.loads(reply.events()[-2])["usage"]["completion_tokens"]

    return sum(await in_parallel(tokens, numbers, at_once)) / (time.monotonic() - start)


async def in_parallel(work, numbers, at_once: int) -> list:
    """Call an asynchronous function with every number, some at a time."""
    free = asyncio.Semaphore(at_once)

    async def one(number: int):
        async with free:
            return await work(number)

    return await asyncio.gather(*map(one, numbers))


def statuses(replies) -> dict[str, int]:
    """How often each status was returned."""
    return {str(status): n for status, n in sorted(Counter(reply.status for reply in replies).items())}


def server_errors(seen: dict[str, Any]) -> int:
    """How many of the answers had a status of 500 or more."""
    return sum(count for status, count in seen["statuses"].items() if int(status) >= 500)

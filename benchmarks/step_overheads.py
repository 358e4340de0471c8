"""Measure what language reward, statistics and judge add to an RL step of 8,192 long answers.

python benchmarks/step_overheads.py --answers 512

The plain way, as the reference: after generation, one thread identifies every language; each of the rollout's 16
updates computes the statistics; two requests to the judge are in flight. Ours: worker processes identify languages
while others are still being generated, the statistics are computed once, and eight requests are in flight. Work beside
generation delays the step by what exceeds the time of generation (--generation), and by what the main process does.

The answers are texts of the sprout corpus of 20,000 characters; the judge is a local server that answers after 0.2 s.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from machine import describe

from r1kit.data.prompt import Prompt
from r1kit.data.worlds.corpus import documents
from r1kit.rewards.checks.base import ScoreRequest
from r1kit.rewards.judge.endpoint import Endpoint
from r1kit.rewards.services import Settings
from r1kit.rewards.workers.pool import RewardPool, score_here
from r1kit.rollout.group import Group, Rollout
from r1kit.stages.rl_rollout import metrics
from r1kit.types import Completion, Problem, Score

STEP, UPDATES, CHARACTERS, TOKENS, GROUP = 8_192, 16, 20_000, 6_000, 16
LATENCY = 0.2  # seconds until the judge answers
WORKERS = 2


class Judge(BaseHTTPRequestHandler):
    """Answers every request after LATENCY seconds."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(LATENCY)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": "Verdict: correct"}}]}).encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def judge_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def long_answers(number: int) -> list[str]:
    """Return texts of the corpus, CHARACTERS long."""
    source, answers = documents("sprout-textbook", 0), []
    for _ in range(number):
        text = "<think>"
        while len(text) < CHARACTERS:
            text += next(source) + "\n"
        answers.append(text[:CHARACTERS] + "</think>\n\\boxed{5}")
    return answers


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_processes(pool: RewardPool, requests: Sequence[ScoreRequest]) -> tuple[float, float]:
    """Return (seconds of the main process, seconds until all are scored), without the start of the processes."""
    pool.score_many(requests[: 2 * pool._pool.workers])
    start = time.perf_counter()
    busy = seconds(lambda: [pool.begin(request) for request in requests])
    for tickets in list(pool._started.values()):
        for ticket in tickets:
            ticket.reply.result()
    wall = time.perf_counter() - start
    return busy + seconds(lambda: pool.score_many(requests)), wall


def judged(url: str, at_once: int, number: int) -> tuple[float, float]:
    """Return (seconds of the main process, seconds until all are judged) per answer."""
    problem = Problem("p", "Capital of France?", "Paris", "judge")
    requests = [ScoreRequest(problem, f"\\boxed{{Paris {n}}}", {"accuracy": 1.0}) for n in range(number)]
    settings = Settings(judge=Endpoint(url, "m", max_concurrent=at_once))
    with RewardPool(WORKERS, settings=settings) as pool:
        pool.score_many([ScoreRequest(problem, f"warm {n}", {"accuracy": 1.0}) for n in range(4 * at_once)])
        main, wall = in_processes(pool, requests)
    return main / number, wall / number


def rollout_of(answers: Sequence[str]) -> Rollout:
    problem = Problem("p", "q", "5", language="en")
    completions = [
        Completion("p", i, tuple(range(i, i + TOKENS)), (0.0,) * TOKENS, text, "stop") for i, text in enumerate(answers)
    ]
    score = Score(1.0, {"language": 1.0})
    groups = [completions[i : i + GROUP] for i in range(0, len(completions), GROUP)]
    prompt = Prompt(problem, "q", (1,))
    return Rollout(0, [Group(prompt, group, [score] * len(group), [1.0] * len(group)) for group in groups])


def measure(number: int, generation: float) -> dict[str, float]:
    """Return the seconds that each part adds to a step of STEP answers."""
    answers = long_answers(number)
    problem = Problem("p", "q", "5", language="en")
    requests = [ScoreRequest(problem, text, {"language": 1.0}) for text in answers]
    score_here(requests[:1])  # loads the identifier
    plain_language = seconds(lambda: score_here(requests)) / number
    with RewardPool(WORKERS) as pool:
        main, wall = (value / number for value in in_processes(pool, requests))
    rollout = rollout_of(answers)
    statistics = seconds(lambda: metrics(rollout, ["language"])) / number
    again = seconds(lambda: [metrics(rollout, ["language"]) for _ in range(UPDATES - 1)]) / number
    with judge_url() as url:
        (plain_main, plain_wall), (judge_main, judge_wall) = (judged(url, n, 8 * n) for n in (2, 8))

    def beside(main: float, wall: float) -> float:
        """Return the seconds that work beside generation adds."""
        return STEP * main + max(0.0, STEP * wall - generation)

    return {
        "language, plain": STEP * plain_language,
        "language, ours": beside(main, wall),
        "statistics, plain": STEP * UPDATES * statistics,
        "statistics, ours": STEP * (statistics + again),
        "judge, plain": beside(plain_main, plain_wall),
        "judge, ours": beside(judge_main, judge_wall),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=512, help="answers to measure; times are scaled to 8,192")
    parser.add_argument("--generation", type=float, default=600.0, help="seconds that the generation of 8,192 takes")
    arguments = parser.parse_args()
    result = measure(arguments.answers, arguments.generation)
    print("\n".join(f"{name:<20} {value:8.2f} s" for name, value in result.items()))
    plain, ours = (sum(value for name, value in result.items() if name.endswith(end)) for end in ("plain", "ours"))
    shares = {"share_plain": plain / (plain + arguments.generation), "share_ours": ours / (ours + arguments.generation)}
    line = {"bench": "step_overheads", "ours": ours, "peer": plain, "ratio": plain / ours, **shares, **result}
    print(json.dumps({**line, "unit": "seconds beside generation per 8,192 answers", "machine": describe()}))


if __name__ == "__main__":
    main()

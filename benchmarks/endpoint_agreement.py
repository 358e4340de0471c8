"""Compare an evaluation here with the same one through a local endpoint, and with one that was killed half-way.

    python benchmarks/endpoint_agreement.py [--samples 64] [--seed 0] [--limit N] [--kill here|endpoint] [--out DIR]

Evaluates sprout-base on `--bench sprout` three times: here, through a small OpenAI-compatible server that this script
starts, and once more, killed (SIGKILL) when half of it is done and started again by the same command. Prints both
accuracies with their 95 % intervals, the paired difference, and whether the restarted evaluation has the same files as
the uninterrupted one. The exit code is 1 if the accuracies or the files differ.

The server answers requests in batches as they come, which changes the last bits of logits. So with `--kill endpoint`
a few completions may differ after the restart; here, blocks of completions are repeated as they were.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from machine import describe, today

MODEL = "sprout-base"
MAX_BATCH = 512
FILES = ("results.json", "samples.jsonl")


# -- the server ------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Continues texts (`POST /completions`) with the native engine. Waiting requests are answered together."""

    request_queue_size = MAX_BATCH

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.waiting: queue.Queue[tuple[dict[str, Any], queue.Queue[dict[str, Any]]]] = queue.Queue()

    def answer_batches(self) -> None:
        """Answer requests until the process ends."""
        from r1kit.engine.factory import load_engine
        from r1kit.machine import choose_compute
        from r1kit.model.reference import resolve_model

        compute = choose_compute("auto")
        engine, tokenizer = load_engine(resolve_model(MODEL), compute.device, compute.dtype, MAX_BATCH)
        print(f"http://127.0.0.1:{self.server_port}/v1", flush=True)
        while True:
            batch = [self.waiting.get()]
            time.sleep(0.02)  # for the requests that are sent together
            while len(batch) < MAX_BATCH and not self.waiting.empty():
                batch.append(self.waiting.get())
            for (_, answer), choice in zip(batch, self._choices(engine, tokenizer, batch), strict=True):
                answer.put(choice)

    @staticmethod
    def _choices(engine: Any, tokenizer: Any, batch: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """Sample one completion for each request. The seed of a request alone decides about its random numbers."""
        from r1kit.engine.base import Request, SamplingParams

        bodies = [body for body, _ in batch]
        settings = {(b["max_tokens"], b["temperature"], b["top_p"], *b.get("stop", ())) for b in bodies}
        assert len(settings) == 1, f"one evaluation asks with one setting: {settings}"
        [(max_tokens, temperature, top_p, *stop)] = settings
        requests = [Request(f"seed {body['seed']}", tuple(tokenizer.encode(body["prompt"])), 1) for body in bodies]
        params = SamplingParams(0, max_tokens, temperature, top_p, stop=tuple(stop))
        for request, done in zip(requests, engine.generate(requests, params), strict=True):
            usage = {"prompt_tokens": len(request.token_ids), "completion_tokens": done.length}
            choice = {"text": done.text, "finish_reason": done.finish_reason}
            yield {"choices": [choice], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    """Passes a request to the engine and waits for its answer."""

    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: queue.Queue[dict[str, Any]] = queue.Queue()
        self.server.waiting.put((body, answer))
        data = json.dumps(answer.get()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


def serve() -> None:
    """Serve until the process is ended. The first line of stdout is the URL, once the model is loaded."""
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.answer_batches()


@contextmanager
def running_server() -> Iterator[str]:
    """Start the server in a process of its own; yields its URL."""
    process = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not (url := process.stdout.readline().strip()):
            raise SystemExit("the server did not start")
        yield url
    finally:
        process.kill()
        process.wait()


# -- the evaluations -------------------------------------------------------------------------------------------------


def command(out: Path, options: argparse.Namespace, url: str | None) -> list[str]:
    """Return the command of an evaluation, here or through the endpoint."""
    given = ["--samples", str(options.samples), "--seed", str(options.seed), "--out", str(out), "--json"]
    given += ["--limit", str(options.limit)] if options.limit else []
    given += ["--endpoint", url, "--template", "r1-zero", "--max-concurrent", "256"] if url else []
    return [sys.executable, "-m", "r1kit", "eval", MODEL, "--bench", "sprout", *given]


def evaluate(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Run an evaluation and return its summary."""
    start = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["benchmarks"]["sprout"]
    low, high = summary["ci95"]
    accuracy = f"pass@1 {100 * summary['pass@1']:.2f} % ({100 * low:.2f} to {100 * high:.2f})"
    print(
        f"{name}: {accuracy}, {summary['problems']} x {summary['samples']}, {time.monotonic() - start:.0f} s",
        flush=True,
    )
    return summary


def kill_half_way(words: Sequence[str], out: Path, pattern: str, total: int) -> None:
    """Start an evaluation, and kill it when half of its `total` files in `out/unfinished` exist."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.glob(f"unfinished/*/{pattern}"))) < total / 2:
        time.sleep(0.05)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    kept = len(list(out.glob(f"unfinished/*/{pattern}")))
    if ended or not kept:
        raise SystemExit(f"{kept} of {total} parts were done at the end: take more samples or a higher limit")
    print(f"killed with {kept} of {total} parts done", flush=True)


def compared(a: Path, b: Path) -> dict[str, Any]:
    """Return the paired comparison of two evaluations."""
    from r1kit.evals.compare import compare_results, read_results

    benchmarks: dict[str, Any] = compare_results(read_results(str(a)), read_results(str(b)))["benchmarks"]
    found: dict[str, Any] = benchmarks["sprout"]
    return found


def main(options: argparse.Namespace, folder: Path) -> bool:
    """Run the three evaluations and print how they compare. Returns whether all is as it should be."""
    from r1kit.evals.benchmark import BLOCK_COMPLETIONS

    print(f"{today()}, {describe()}, {options.samples} samples, seed {options.seed}")
    here, there, again = (folder / name for name in ("here", "endpoint", "restarted"))
    ours = evaluate("here", command(here, options, None))
    with running_server() as url:
        theirs = evaluate("through the endpoint", command(there, options, url))
        by_endpoint = options.kill == "endpoint"
        words = command(again, options, url if by_endpoint else None)
        parts = -(-ours["problems"] // max(1, BLOCK_COMPLETIONS // options.samples))
        pattern, total = "benchmark_*.jsonl", parts
        if by_endpoint:
            pattern, total = "requests/**/*.json", ours["problems"] * options.samples
        kill_half_way(words, again, pattern, total)
        evaluate("restarted", words)
    inside = all(a["ci95"][0] <= b["pass@1"] <= a["ci95"][1] for a, b in ((ours, theirs), (theirs, ours)))
    found = compared(here, there)
    low, high = (100 * bound for bound in found["ci95"])
    print(f"difference, paired: {100 * found['difference']:+.2f} ({low:+.2f} to {high:+.2f}), p {found['p_value']:.2g}")
    print(f"each accuracy is within the other's interval: {'yes' if inside else 'NO'}")
    whole = there if by_endpoint else here
    same = all((whole / name).read_bytes() == (again / name).read_bytes() for name in FILES)
    print(f"files after the restart are those of an uninterrupted evaluation: {'yes' if same else 'NO'}")
    return inside and same


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64, help="completions per problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="the first N problems; default: all")
    parser.add_argument("--kill", choices=("here", "endpoint"), default="here", help="the evaluation to kill")
    parser.add_argument("--out", type=Path, help="an empty directory to keep the results in; default: none is kept")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    given = parsed()
    if given.serve:
        serve()
    elif given.out:
        sys.exit(0 if main(given, given.out) else 1)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            sys.exit(0 if main(given, Path(temporary)) else 1)

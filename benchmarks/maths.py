"""Time mathematics verdicts of r1kit and of math-verify, and compare both with labels.

pip install "math-verify>=0.9,<1" && python benchmarks/maths.py ../shared/data/vectors/math_equivalence.jsonl

Cases are JSON lines with `gold`, `pred` and `expected`. Each verifier judges every case once, without a warm cache,
with sympy's sandbox already open: first all cases with r1kit, then all with math-verify. Prints the agreement with the
labels and the slowest case of each, then the medians as one JSON line.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from machine import describe
from math_verify import parse, verify

from r1kit.rewards.math.check import check, check_prose


def ours(gold: str, response: str) -> bool:
    """Judge a response with r1kit."""
    return check_prose(gold, response.rpartition("</think>")[2])[0].status == "right"


def peer(gold: str, response: str) -> bool:
    """Judge a response with math-verify, which reads LaTeX between dollar signs only."""
    return verify(parse(gold if "$" in gold or "boxed" in gold else f"${gold}$"), parse(response))


def timed(judge: Callable[[str, str], bool], gold: str, response: str) -> tuple[bool, float]:
    """Return the verdict and the seconds it took."""
    start = time.perf_counter()
    verdict = judge(gold, response)
    return verdict, time.perf_counter() - start


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("cases", type=Path, help="JSON lines with gold, pred and expected")
    cases = [json.loads(line) for line in arguments.parse_args().cases.open()]
    logging.disable(logging.WARNING)  # math-verify logs unreadable answers
    check(r"\sec^2 t", r"1+\tan^2 t")  # opens the sandbox
    peer("$1$", "$x+1$")
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    agreed = {"ours": 0, "peer": 0}
    for name, judge in (("ours", ours), ("peer", peer)):  # one after the other, as a user runs only one
        for case in cases:
            verdict, spent = timed(judge, case["gold"], case["pred"])
            seconds[name].append(spent)
            agreed[name] += verdict == case["expected"]
    for name in seconds:
        share, slow = agreed[name] / len(cases), sum(spent > 1 for spent in seconds[name])
        print(f"{name}: agrees on {share:.1%} of {len(cases)}; slowest {max(seconds[name]):.3f} s, {slow} over 1 s")
    micro = {name: round(1e6 * median(spent), 1) for name, spent in seconds.items()}
    ratio = round(micro["peer"] / micro["ours"], 1)
    print(json.dumps({"bench": "math_verify", **micro, "ratio": ratio, "unit": "us a verdict", "machine": describe()}))


if __name__ == "__main__":
    main()

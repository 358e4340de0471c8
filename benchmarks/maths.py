"""How long a maths verdict takes, here and in math-verify, and how often it is right: all cases here, then all there.

pip install "math-verify>=0.9,<1" && python benchmarks/maths.py ../shared/data/vectors/math_equivalence.jsonl

Cases: JSON lines with `gold`, `pred` and `expected`. Each is judged once by each, cold, with sympy's sandbox open. The
last line is the result; the lines before it give the agreement with the labels, and the slowest case.
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
    return check_prose(gold, response.rpartition("</think>")[2])[0].status == "right"


def peer(gold: str, response: str) -> bool:
    """As its users call it: the gold answer between dollar signs, without which it reads no LaTeX."""
    return verify(parse(gold if "$" in gold or "boxed" in gold else f"${gold}$"), parse(response))


def timed(judge: Callable[[str, str], bool], gold: str, response: str) -> tuple[bool, float]:
    start = time.perf_counter()
    verdict = judge(gold, response)
    return verdict, time.perf_counter() - start


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("cases", type=Path, help="JSON lines with gold, pred and expected")
    cases = [json.loads(line) for line in arguments.parse_args().cases.open()]
    logging.disable(logging.WARNING)  # math-verify logs what it cannot read
    check(r"\sec^2 t", r"1+\tan^2 t")  # opens the sandbox
    peer("$1$", "$x+1$")
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    agreed = {"ours": 0, "peer": 0}
    for name, judge in (("ours", ours), ("peer", peer)):  # not in alternation: nobody grades with both
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

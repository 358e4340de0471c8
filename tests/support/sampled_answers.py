"""Answers of the bundled model as `r1kit sample` gives them, to compare with what a server gives its clients."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from r1kit.serve.text import ReasoningParser

QUESTION = "What is 2+3?"


@dataclass(frozen=True)
class Answer:
    """What `r1kit sample` prints with a seed, in its two parts."""

    seed: int
    content: str
    reasoning: str


def sampled(seed: int, *options: str) -> list[Answer]:
    """Answers of sprout-base to QUESTION, as `r1kit sample` gives them."""
    command = [
        sys.executable,
        "-m",
        "r1kit",
        "sample",
        "sprout-base",
        QUESTION,
        "--seed",
        str(seed),
        "--json",
        *options,
    ]
    done = subprocess.run([*command, "--max-completion-length", "100"], capture_output=True, text=True, check=True)
    answers = []
    for text in json.loads(done.stdout)["questions"][0]["answers"]:
        parser = ReasoningParser(think_open=False, answer_tags=True)
        parts = [parser.feed(text), parser.finish()]
        answers.append(Answer(seed, "".join(part[1] for part in parts), "".join(part[0] for part in parts)))
    return answers

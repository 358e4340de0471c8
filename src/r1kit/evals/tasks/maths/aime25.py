"""AIME 2025: 30 competition problems with answers from 0 to 999."""

from __future__ import annotations

from r1kit.evals.task import Task, then
from r1kit.evals.tasks.maths.aime24 import read
from r1kit.evals.tasks.wording import BOXED

TASK = Task(
    name="aime25",
    title="AIME 2025",
    n=30,
    k=64,
    metric="pass@1",
    read=read,
    prompt=then(BOXED),
    verifier="math",
    licence="problems MAA; files MIT or Apache-2.0",
    source="yentinglin/aime_2025",
    split="train",
    remarks="the paper's Table 13 counts solved problems of 15; `pass@1` times 15 compares with it",
)

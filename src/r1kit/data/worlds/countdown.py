"""Countdown: combine given numbers, each used once, to reach a target, as in `8+12-3`.

Harder levels have more numbers and so more candidate expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from itertools import permutations
from random import Random

from r1kit.data.worlds.arithmetic import apply
from r1kit.data.worlds.task import WORDS, Slips, Task, near

name = "countdown"
# level -> (how many numbers, the largest number, the operators)
SHAPES = {1: (2, 20, "+-"), 2: (2, 12, "+-*"), 3: (3, 9, "+-"), 4: (3, 14, "+-"), 5: (3, 20, "+-")}
QUESTIONS = {
    "en": ("Use {} to make {}.", "Make {1} from {0}.", "Combine {} to get {}.", "Reach {1} using {0}."),
    "zh": ("用{}得到{}。", "用{}凑出{}。", "怎样用{}算出{}？"),
}
SEPARATOR = {"en": ", ", "zh": "、"}

Way = tuple[tuple[int, ...], tuple[str, ...]]  # an expression: numbers, and the operators between them


def make(rng: Random, level: int) -> Task:
    """Draw a task; its facts are (numbers, target)."""
    count, largest, operators = SHAPES[level]
    while True:
        numbers = tuple(rng.randint(1, largest) for _ in range(count))
        ways = [way for way in _ways(numbers, operators) if _value(way) > 0]
        if "*" in operators:  # a level with multiplication must need it
            ways = [way for way in ways if "*" in way[1]]
        if ways and len(set(numbers)) == count:
            way = rng.choice(ways)
            extra = {"numbers": list(numbers), "target": _value(way)}
            return Task(name, level, (numbers, _value(way)), _text(way), "countdown", extra)


def question(task: Task, rng: Random, language: str) -> str:
    """Word the task."""
    numbers, target = task.facts
    return rng.choice(QUESTIONS[language]).format(SEPARATOR[language].join(map(str, numbers)), target)


def work(task: Task, rng: Random, languages: Callable[[], str], slips: Slips) -> tuple[list[str], str]:
    """Try expressions, likely ones first, until one gives the target.

    A slip miscomputes a value: it can miss the target or reach it falsely.
    """
    numbers, target = task.facts
    ways = [way for way in _ways(numbers, SHAPES[task.level][2]) if _value(way) >= 0]
    # A noisy estimate of the distance to the target keeps searches short, as mental arithmetic does.
    estimate = {way: abs(_value(way) - target) * rng.uniform(0.2, 2) + rng.uniform(0, 12) for way in ways}
    lines: list[str] = []
    for way in sorted(ways, key=estimate.__getitem__):
        words = WORDS[languages()]
        right = _value(way)
        wrong = target if rng.random() < 0.15 and right != target else near(rng, right)
        written, believed = slips.step(partial(_line, way, target, words), right, wrong, words["wait"])
        lines += written
        if believed == target:
            return lines, _text(way)
    return lines, _text(way)


def _line(way: Way, target: int, words: Mapping[str, str], result: int) -> str:
    distance = abs(result - target)
    check = f"{max(result, target)}-{min(result, target)}={distance}"
    return f"{_trace(way, result)},{check}{words['no' if distance else 'yes']}"


def guess(task: Task, rng: Random) -> str:
    """Return an expression of the given numbers that misses the target."""
    numbers, target = task.facts
    wrong = [way for way in _ways(numbers, SHAPES[task.level][2]) if _value(way) != target]
    return _text(rng.choice(wrong))


@lru_cache(maxsize=4096)
def _ways(numbers: tuple[int, ...], operators: str) -> list[Way]:
    """Return all distinct expressions without negative intermediate results; `*` only as the first operator.

    Expressions that differ only in the order of their terms or factors count as one.
    """
    distinct: dict[tuple[tuple[int, ...], ...], Way] = {}
    for order in permutations(numbers):
        for way in _chains(order, operators):
            plus = sorted(n for op, n in zip(("+", *way[1]), way[0], strict=True) if op == "+")
            minus = sorted(n for op, n in zip(("+", *way[1]), way[0], strict=True) if op == "-")
            product = sorted(way[0][:2]) if "*" in way[1] else []
            distinct.setdefault((tuple(product), tuple(plus), tuple(minus)), way)
    return list(distinct.values())


def _chains(order: tuple[int, ...], operators: str) -> list[Way]:
    chains: list[tuple[str, ...]] = [()]
    for position in range(len(order) - 1):
        usable = operators if position == 0 else operators.replace("*", "")
        chains = [(*chain, op) for chain in chains for op in usable]
    ways = [(order, chain) for chain in chains]
    return [way for way in ways if min(_partial_values(way)) >= 0]


def _partial_values(way: Way) -> list[int]:
    numbers, ops = way
    values = [numbers[0]]
    for op, number in zip(ops, numbers[1:], strict=True):
        values.append(apply(values[-1], op, number))
    return values


def _value(way: Way) -> int:
    return _partial_values(way)[-1]


def _text(way: Way) -> str:
    numbers, ops = way
    return str(numbers[0]) + "".join(f"{op}{number}" for op, number in zip(ops, numbers[1:], strict=True))


def _trace(way: Way, result: int) -> str:
    """Write out partial results: `8+12=20,20-3=17`; `result` takes the place of the last one."""
    numbers, ops = way
    values = [*_partial_values(way)[:-1], result]
    return ",".join(f"{values[i]}{op}{numbers[i + 1]}={values[i + 1]}" for i, op in enumerate(ops))

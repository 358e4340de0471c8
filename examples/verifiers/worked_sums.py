"""Print worked examples of gym_sums.py's tasks, for a cold start: python worked_sums.py > worked-sums.jsonl."""

from __future__ import annotations

import json

import reasoning_gym
from gym_sums import TASK

EXAMPLES, SEED = 20, 10_000  # no task of the environment: its seeds are below 10,000


def worked(expression: str) -> str:
    """Add from left to right, one number a line."""
    value, *numbers = map(int, expression.split("+"))
    lines = []
    for number in numbers:
        lines.append(f"{value}+{number}={value + number}\n")
        value += number
    return f"<think>\n{''.join(lines)}</think>\n<answer>\n{value}\n</answer>"


if __name__ == "__main__":
    for task in reasoning_gym.create_dataset(TASK["name"], size=EXAMPLES, seed=SEED, **TASK["config"]):
        print(json.dumps({"prompt": task["question"], "response": worked(task["metadata"]["expression"])}))

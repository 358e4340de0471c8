"""How much memory do a GRPO step and packed SFT take: TRL and r1kit, on the work of grpo_step.py and sft.py.

make bench NAME=memory

The largest resident size that the operating system saw of each process after three steps, libraries included.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import grpo_step
import sft
from compare import arguments, finish, table
from models import prepare

STEPS = 2  # after the one that warms up


def main() -> None:
    given = arguments(__doc__).parse_args()
    with TemporaryDirectory() as directory:
        model = prepare("3.2M", Path(directory))
        step = grpo_step.contend(model, STEPS, ["--quick"] if given.quick else [])
    packed = sft.contend(sft.NAMES, "quick" if given.quick else "small", STEPS)
    peaks = {
        "GRPO step": {name: one["peak_bytes"] for name, one in step.items()},
        "packed SFT, float32": {name: packed[f"{name}, float32"]["peak_bytes"] for name in step},
        "packed SFT, bfloat16": {name: packed[f"{name}, bfloat16"]["peak_bytes"] for name in step},
    }
    rows = [[work, *(size / 1e6 for size in one.values()), one["TRL"] / one["r1kit"]] for work, one in peaks.items()]
    page = table(["peak MB", "r1kit", "TRL", "TRL / r1kit"], rows)
    finish(
        "memory", peaks["GRPO step"]["r1kit"] / 1e6, peaks["GRPO step"]["TRL"] / 1e6, "MB, a GRPO step", page, peaks,
        given.quick, more_is_better=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()

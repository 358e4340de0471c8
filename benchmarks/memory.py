"""Compare the memory of a GRPO step and of packed SFT in TRL and r1kit, on the work of grpo_step.py and sft.py.

make bench NAME=memory

It is the peak resident set size of each process after three steps, including libraries.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import grpo_step
import sft
from compare import arguments, finish, table
from models import prepare

STEPS = 2  # after the warm-up


def main() -> None:
    args = arguments(__doc__).parse_args()
    with TemporaryDirectory() as directory:
        model = prepare("3.2M", Path(directory))
        step = grpo_step.contend(model, STEPS, ["--quick"] if args.quick else [])
    packed = sft.contend(sft.LIBRARIES, "quick" if args.quick else "small", STEPS)
    peaks = {
        f"{work}, {dtype}": {who: results[f"{who}, {dtype}"]["peak_bytes"] for who in ("r1kit", "TRL")}
        for work, results in (("GRPO step", step), ("packed SFT", packed))
        for dtype in ("float32", "bfloat16")
    }
    rows = [[work, *(size / 1e6 for size in one.values()), one["TRL"] / one["r1kit"]] for work, one in peaks.items()]
    page = table(["peak MB", "r1kit", "TRL", "TRL / r1kit"], rows)
    grpo = peaks["GRPO step, float32"]
    finish(
        "memory", grpo["r1kit"] / 1e6, grpo["TRL"] / 1e6, "MB, GRPO step, float32", page, peaks,
        args.quick, more_is_better=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()

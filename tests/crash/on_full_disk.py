"""Save checkpoints on a full disk, for test_disk_full.py. The argument is a directory on a small file system.

Prints one JSON object. A ballast file leaves 0, 1, 2, ... pages free, up to as many as a checkpoint needs.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tiny_learner import all_equal, all_tensors, restore, save, tiny_learner, train

from r1kit.files import find_damage
from r1kit.learn.checkpoint import checkpoints


def free_pages(disk: Path) -> int:
    return os.statvfs(disk).f_bavail


@contextlib.contextmanager
def free_pages_left(pages: int, disk: Path) -> Iterator[None]:
    """Leave exactly `pages` pages free."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes((free_pages(disk) - pages) * os.statvfs(disk).f_bsize))
    assert free_pages(disk) == pages, (free_pages(disk), pages)
    yield
    ballast.unlink()


def main(disk: Path) -> None:
    learner, undisturbed, saves = tiny_learner(), tiny_learner(), []
    directory, before = disk / "checkpoints", free_pages(disk)
    train(learner, range(1))
    save(learner, {"step": 1}, directory)
    needed = before - free_pages(disk) + 4  # and some for temporary names
    for pages in range(needed + 1):
        step = 2 + pages
        train(learner, range(step - 1, step))
        output = io.StringIO()
        with free_pages_left(pages, disk), contextlib.redirect_stderr(output):
            save(learner, {"step": step}, directory)
        kept = checkpoints(directory)
        leftovers = [path.name for path in directory.iterdir() if path not in kept]
        assert not any(find_damage(path) for path in kept) and not leftovers, (pages, leftovers)
        saved = kept[-1].name == f"step_{step:08d}"
        assert saved == output.getvalue().startswith(f"saved step_{step:08d}"), output.getvalue()
        saves.append({"pages": pages, "saved": saved, "output": output.getvalue().splitlines()})
        if not saved:
            last = kept[-1].name
    train(undisturbed, range(needed + 2))
    resumed = tiny_learner(seed=9)
    since = restore(resumed, directory)["step"]
    train(resumed, range(since, needed + 2))
    print(
        json.dumps(
            {
                "saves": saves,
                "last_good_while_full": last,
                "went_on_identical": all_equal(all_tensors(learner), all_tensors(undisturbed)),
                "resumed_identical": all_equal(all_tensors(resumed), all_tensors(undisturbed)),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

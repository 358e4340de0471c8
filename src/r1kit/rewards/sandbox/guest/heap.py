"""The heap of a snapshot. A page that a run writes to is copied for it, so what it uses should lie together."""

from __future__ import annotations

import gc
from itertools import count

HEADER, OF_BYTES = 4, 17  # bytes that a block, and in it a bytes object, has besides its content
BLOCKS = (*(1 << i for i in range(17, 9, -1)), *range(1008, 16, -16), 16)  # sizes in which the allocator deals
ENOUGH = 9  # blocks in a row from beyond the heap: there is no hole left for their size
_filling: list[object] = [None] * 200_000  # as long as it gets: to grow would leave holes
_slots = count()


def fill_holes() -> None:
    """Take what free memory lies between objects, for good, so that all that is made from now on lies together.

    Importing a library leaves thousands of holes. A run would put its objects there, and so write all over the heap.
    """
    gc.collect()
    for block in BLOCKS:
        beyond, end = 0, id(bytes(1 << 20))
        while beyond < ENOUGH:
            filler = bytes(block - HEADER - OF_BYTES) if block > 16 else object()
            _filling[next(_slots)] = filler
            beyond += id(filler) >= end

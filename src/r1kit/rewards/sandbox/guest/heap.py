"""The heap of a snapshot. A run copies every page that it writes to, so its objects should lie close together."""

from __future__ import annotations

import gc
from itertools import count

BLOCK_HEADER, BYTES_HEADER = 4, 17  # bytes of overhead of an allocated block, and of a bytes object in it
BLOCKS = (*(1 << i for i in range(17, 9, -1)), *range(1008, 16, -16), 16)  # block sizes of the allocator
ENOUGH = 9  # consecutive blocks from beyond the heap: no hole of their size is left
_fillers: list[object] = [None] * 200_000  # at its final length, because growing would leave holes
_slots = count()


def fill_holes() -> None:
    """Allocate all free memory between objects permanently, so that new objects are contiguous.

    Importing a library leaves thousands of holes. A run would put its objects there and write to pages all over the
    heap.
    """
    gc.collect()
    for block in BLOCKS:
        beyond, end = 0, id(bytes(1 << 20))
        while beyond < ENOUGH:
            filler = bytes(block - BLOCK_HEADER - BYTES_HEADER) if block > 16 else object()
            _fillers[next(_slots)] = filler
            beyond += id(filler) >= end

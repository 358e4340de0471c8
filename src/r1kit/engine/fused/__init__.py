"""Decode steps on a CPU with kernels that numba compiles (the extra `fast`), instead of many small torch calls."""

"""Kernels that numba compiles (the extra `fast`), instead of many passes of torch over memory. On a CPU only."""

"""How guests are compiled and run: part of what a compiled component is made of, so a change here builds it again."""

from __future__ import annotations

import ctypes

import wasmtime

WASM_STACK = 16 << 20  # bytes; the interpreter stops recursion by itself before that, with a RecursionError


def new_engine() -> wasmtime.Engine:
    """The one configuration under which components are compiled and run: Cranelift, fuel, no threads."""
    config = wasmtime.Config()
    config.strategy = "cranelift"  # never Winch: CVE-2026-34987
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True  # the same bits on every processor
    config.wasm_threads = False
    config.wasm_relaxed_simd = False
    # wasmtime-py does not offer it, but no stack may be larger than this one, 2 MiB by default.
    set_async_stack = wasmtime._ffi.dll.wasmtime_config_async_stack_size_set
    set_async_stack.argtypes, set_async_stack.restype = [ctypes.c_void_p, ctypes.c_uint64], None
    set_async_stack(config.ptr(), WASM_STACK)
    config.max_wasm_stack = WASM_STACK
    return wasmtime.Engine(config)

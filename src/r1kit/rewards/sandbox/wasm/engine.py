"""The wasmtime configuration for compiling and running components. This file is part of the key of the build cache."""

from __future__ import annotations

import ctypes

import wasmtime

WASM_STACK = 16 << 20  # bytes; the interpreter raises RecursionError before it reaches this


def new_engine() -> wasmtime.Engine:
    """Return an engine with Cranelift, fuel and no threads."""
    config = wasmtime.Config()
    config.strategy = "cranelift"  # never Winch: CVE-2026-34987
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True  # the same bits on every processor
    config.wasm_threads = False
    config.wasm_relaxed_simd = False
    # No wasm stack may be larger than the async stack, 2 MiB by default. wasmtime-py has no property for it.
    set_async_stack = wasmtime._ffi.dll.wasmtime_config_async_stack_size_set
    set_async_stack.argtypes, set_async_stack.restype = [ctypes.c_void_p, ctypes.c_uint64], None
    set_async_stack(config.ptr(), WASM_STACK)
    config.max_wasm_stack = WASM_STACK
    return wasmtime.Engine(config)

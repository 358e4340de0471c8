"""What kernels are made of: the compiler, bfloat16, and torch's threads.

Import it only where `model.fused.support.why_not` returns None.

After a change here or in `rows.py`, delete the `__pycache__` of this folder and of `engine/fused`: numba notices only
changes of the file that defines a kernel.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from r1kit.errors import require
from r1kit.model.fused.support import EXTRA, OPENMP, openmp

numba: Any = require("numba", EXTRA)
types, cgutils = numba.types, require("numba.core", EXTRA).cgutils
intrinsic = require("numba.extending", EXTRA).intrinsic
ir, binding = (require(f"llvmlite.{name}", EXTRA) for name in ("ir", "binding"))

# Sums may be computed in any order, which vectors need. Infinities and NaN keep their meaning.
REORDERED = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call, and keep the result on disk where that is possible."""
    options = {"nogil": True, "fastmath": REORDERED, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return numba.njit(**options)(function)


def array(tensor: Tensor) -> Any:
    """Return a tensor's memory as a NumPy array; bfloat16 as its bits (uint16), which NumPy does not know."""
    plain = tensor.detach()
    return (plain.view(torch.uint16) if plain.dtype == torch.bfloat16 else plain).numpy()


@intrinsic  # type: ignore[untyped-decorator]
def to_float32(typing: Any, x: Any) -> Any:
    """Return a float32, or the bits of a bfloat16, as float32."""
    if x == types.float32:
        return types.float32(x), lambda context, builder, signature, arguments: arguments[0]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.IntType(32)(16))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def from_float32(typing: Any, x: Any, like: Any) -> Any:
    """Return a float32 as an element of the array `like`: itself, or the bits of the nearest bfloat16."""
    if like.dtype == types.float32:
        return types.float32(types.float32, like), lambda context, builder, signature, arguments: arguments[0]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, half = ir.IntType(32), ir.IntType(16)
        bits = builder.bitcast(arguments[0], word)
        is_odd = builder.and_(builder.lshr(bits, word(16)), word(1))
        rounded = builder.add(builder.add(bits, word(0x7FFF)), is_odd)
        is_nan = builder.icmp_unsigned(">", builder.and_(bits, word(0x7FFFFFFF)), word(0x7F800000))
        bits = builder.select(is_nan, word(0x7FC00000), rounded)
        return builder.trunc(builder.lshr(bits, word(16)), half)

    return types.uint16(types.float32, like), generate


@intrinsic  # type: ignore[untyped-decorator]
def rounded(typing: Any, x: Any, like: Any) -> Any:
    """Convert as `from_float32` does, in fewer steps: ties are rounded away from zero, and NaN must be a quiet one."""
    if like.dtype == types.float32:
        return types.float32(types.float32, like), lambda context, builder, signature, arguments: arguments[0]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, half = ir.IntType(32), ir.IntType(16)
        bits = builder.add(builder.bitcast(arguments[0], word), word(0x8000))
        return builder.trunc(builder.lshr(bits, word(16)), half)

    return types.uint16(types.float32, like), generate


@intrinsic  # type: ignore[untyped-decorator]
def float32_of_bits(typing: Any, bits: Any) -> Any:
    """Return the float32 with these bits (int32)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, x: Any, ahead: Any) -> Any:
    """Load the cache line that is `ahead` bytes behind the beginning of an array into the second-level cache, soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.gep(builder.bitcast(data, cgutils.voidptr_t), [arguments[1]])
        word = ir.IntType(32)
        fetch_type = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word])
        fetch = cgutils.get_or_insert_function(builder.module, fetch_type, "llvm.prefetch.p0")
        builder.call(fetch, [address, word(0), word(2), word(1)])  # for reading, into the second level, as data
        return context.get_dummy_value()

    return types.void(x, types.intp), generate


def _connect() -> None:
    """Let compiled code call torch's OpenMP library."""
    library = openmp()
    assert library is not None
    for name in OPENMP:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        binding.add_symbol(f"r1kit_{name}", address)


_connect()


@intrinsic  # type: ignore[untyped-decorator]
def parallel(typing: Any, task: Any, arguments: Any, threads: Any) -> Any:
    """Call the kernel task(*arguments, thread, threads) in that many of torch's OpenMP threads, and wait for all."""
    task_signature = task.get_call_type(typing, (*arguments.types, types.intp, types.intp), {})
    compiled = task.dispatcher.get_compile_result(task_signature)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        context.active_code_library.add_linking_library(compiled.library)
        function = context.declare_function(builder.module, compiled.fndesc)
        outlined = _outline(context, builder.module, function, task_signature, values[1].type)
        shared = cgutils.alloca_once_value(builder, values[1])
        pointer, word = cgutils.voidptr_t, ir.IntType(32)
        start_type = ir.FunctionType(ir.VoidType(), [outlined.type, pointer, word, word])
        start = cgutils.get_or_insert_function(builder.module, start_type, "r1kit_GOMP_parallel")
        count = builder.trunc(values[2], word)
        builder.call(start, [outlined, builder.bitcast(shared, pointer), count, word(0)])
        return context.get_dummy_value()

    return types.void(task, arguments, types.intp), generate


def _outline(context: Any, module: Any, function: Any, signature: Any, tuple_type: Any) -> Any:
    """Return a function of one pointer, to a tuple of arguments, that runs one thread's share of the task."""
    number_type = ir.FunctionType(ir.IntType(32), [])
    name = module.get_unique_name("share")
    outlined = ir.Function(module, ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t]), name)
    outlined.linkage = "internal"
    builder = ir.IRBuilder(outlined.append_basic_block())
    arguments = builder.load(builder.bitcast(outlined.args[0], tuple_type.as_pointer()))
    values = [
        _borrowed(context, builder, kind, value)
        for kind, value in zip(signature.args, cgutils.unpack_tuple(builder, arguments), strict=False)
    ]
    for number in ("omp_get_thread_num", "omp_get_num_threads"):
        get = cgutils.get_or_insert_function(module, number_type, f"r1kit_{number}")
        values.append(builder.zext(builder.call(get, []), ir.IntType(64)))
    # A status would say that the task has raised an exception, which kernels do not.
    context.call_conv.call_function(builder, function, signature.return_type, signature.args, values)
    builder.ret_void()
    return outlined


def _borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return a view without an owner, since threads that count references to one slow each other down."""
    if not isinstance(kind, types.Array):
        return value
    borrowed = context.make_array(kind)(context, builder, value)
    for owner in ("meminfo", "parent"):
        setattr(borrowed, owner, cgutils.get_null_value(getattr(borrowed, owner).type))
    return borrowed._getvalue()

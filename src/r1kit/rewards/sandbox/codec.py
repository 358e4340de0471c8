"""Values that enter and leave a sandbox: a closed set of types as JSON, checked on arrival, compared by exact type.

Runs on both sides and needs only the standard library. Text from a sandbox is hostile: `unpack` caps its size and
depth, accepts no JSON number, and refuses hash collisions that would make building a set or dict quadratic.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any, NoReturn, TypeAlias

Value: TypeAlias = (
    "bool | int | float | str | list[Value] | tuple[Value, ...] | set[Value] | frozenset[Value] | "
    "dict[Value, Value] | None"
)
Encoded: TypeAlias = "bool | str | list[Encoded] | dict[str, Encoded] | None"  # JSON without numbers
MAX_DEPTH = 50
MAX_ITEMS = 1_000_000
MAX_SAME_HASH = 32  # keys of one set or dict with the same hash; honest keys rarely share one
SCALARS = (type(None), bool, int, float, str)
CONTAINERS = (tuple, set, frozenset)  # encoded as {type name: list of items}


class CodecError(ValueError):
    """A value that cannot be encoded, or data that is not an encoded value."""


def encode(value: Value) -> Encoded:
    """Return the value as JSON data: null, booleans, strings and lists unchanged, the rest as {type name: content}."""
    return _encode(value, MAX_DEPTH, [MAX_ITEMS])


def decode(data: Any) -> Value:
    """Invert `encode`. Raises CodecError for JSON data that is not an encoded value."""
    return _decode(data, MAX_DEPTH)


def pack(value: Value) -> str:
    """Encode the value as ASCII text."""
    return json.dumps(encode(value))


def unpack(text: str, max_chars: int) -> Value:
    """Decode untrusted text of at most `max_chars` characters."""
    return decode(loads(text, max_chars))


def loads(text: str, max_chars: int) -> Any:
    """Parse untrusted JSON without numbers. Raises CodecError if it is too long, too deep or malformed."""
    if len(text) > max_chars:
        raise CodecError(f"{len(text)} characters; at most {max_chars} are read")
    try:
        return json.loads(text, parse_int=_no_number, parse_float=_no_number, parse_constant=_no_number)
    except CodecError:
        raise
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not JSON: {type(error).__name__}") from error


def same(expected: Value, got: Value, tolerance: float = 0.0) -> bool:
    """Return whether both are equal with exactly equal types throughout: 1 is neither True nor 1.0; NaN equals nothing.

    tolerance: allowed difference of floats, relative to the expected value where that is above 1. It does not apply
    inside sets and dict keys, which are matched exactly.
    """
    return _same(expected, got, tolerance)


def _same(expected: Any, got: Any, tolerance: float) -> bool:
    kind = type(expected)
    if kind is not type(got):
        return False
    if kind is float:
        close = abs(expected - got) <= tolerance * max(1.0, abs(expected))  # false for NaN and for inf - inf
        return bool(expected == got or (close and abs(expected) != float("inf")))
    if kind in (list, tuple):
        return len(expected) == len(got) and all(_same(a, b, tolerance) for a, b in zip(expected, got, strict=True))
    if kind is dict:
        others = {_exact(key): value for key, value in got.items()}
        return len(expected) == len(got) and all(
            (key := _exact(name)) in others and _same(value, others[key], tolerance) for name, value in expected.items()
        )
    if kind in (set, frozenset):
        return _exact(expected) == _exact(got)
    if kind not in SCALARS:
        return False
    equal: bool = expected == got
    return equal


def _encode(value: Any, depth: int, left: list[int]) -> Encoded:
    left[0] -= 1
    if depth < 0 or left[0] < 0:
        raise CodecError(f"nested deeper than {MAX_DEPTH}" if depth < 0 else f"more than {MAX_ITEMS} items")
    kind = type(value)  # exactly: a subclass may lie about itself
    if value is None or kind is bool or kind is str:
        scalar: Encoded = value
        return scalar
    if kind is int:
        return {"int": hex(value)}
    if kind is float:
        return {"float": value.hex()}
    if kind is list:
        return [_encode(item, depth - 1, left) for item in value]
    if kind is dict:
        return {"dict": [[_encode(k, depth - 1, left), _encode(v, depth - 1, left)] for k, v in value.items()]}
    if kind in CONTAINERS:
        return {kind.__name__: [_encode(item, depth - 1, left) for item in value]}
    raise CodecError(f"a value of type {kind.__name__[:60]} does not cross the sandbox")


def _decode(data: Any, depth: int) -> Value:
    if depth < 0:
        raise CodecError(f"nested deeper than {MAX_DEPTH}")
    if data is None or type(data) is bool or type(data) is str:
        return data
    if type(data) is list:
        return [_decode(item, depth - 1) for item in data]
    if type(data) is not dict or len(data) != 1:
        raise CodecError("not an encoded value")
    [(name, content)] = data.items()
    if name in ("int", "float") and type(content) is str:
        return _number(name, content)
    if type(content) is not list:
        raise CodecError(f"not an encoded {name[:60]}")
    if name == "dict":
        if not all(type(pair) is list and len(pair) == 2 for pair in content):
            raise CodecError("a dict that is not made of pairs")
        keys = _keys((pair[0] for pair in content), depth - 1)
        return dict(zip(keys, (_decode(pair[1], depth - 1) for pair in content), strict=True))
    if name == "set":
        return set(_keys(content, depth - 1))
    if name == "frozenset":
        return frozenset(_keys(content, depth - 1))
    if name == "tuple":
        return tuple(_decode(item, depth - 1) for item in content)
    raise CodecError(f"unknown type {name[:60]}")


def _number(name: str, content: str) -> int | float:
    try:
        return int(content, 16) if name == "int" else float.fromhex(content)
    except (ValueError, OverflowError) as error:
        raise CodecError(f"not an encoded {name}") from error


def _keys(data: Iterable[Any], depth: int) -> list[Value]:
    keys = [_decode(item, depth) for item in data]
    try:
        hashes = Counter(map(hash, keys))
    except TypeError as error:
        raise CodecError("a key that cannot be one") from error
    if hashes and max(hashes.values()) > MAX_SAME_HASH:
        raise CodecError(f"more than {MAX_SAME_HASH} keys with one hash")
    return keys


def _exact(key: Any) -> Hashable:
    """Return an object that is equal exactly for keys of equal type and value."""
    kind = type(key)
    if kind is tuple:
        return kind, tuple(map(_exact, key))
    if kind in (set, frozenset):
        return kind, frozenset(map(_exact, key))
    return kind, key if key == key else object()  # NaN equals nothing, itself included


def _no_number(text: str) -> NoReturn:
    raise CodecError("a bare number")

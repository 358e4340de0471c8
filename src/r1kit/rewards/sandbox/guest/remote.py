"""Calls into a candidate's program. Plain values are copied; other objects stay in the program and get a name.

To the codec's closed set of types this adds tuples that start with a tag, for what the set lacks: a bytes object, a
linked list, an object that the candidate keeps. An instance of a subclass is copied as the plain value it holds, read
with the base class's own methods, so its overrides are never called. A candidate gains nothing by forging any of this:
it only changes what its own functions return.
"""

from __future__ import annotations

import builtins
import json
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from r1kit.rewards.sandbox import codec
from r1kit.rewards.sandbox.guest import leetcode

TAG = "\0"  # first character of every tag
OBJECT, GLOBAL, BUILTIN, CHANGED = (TAG + name for name in ("object", "global", "builtin", "changed"))
PLAIN: tuple[type[Any], ...] = (int, float, str, list, tuple, set, frozenset, dict)
# Types that are rebuilt on the other side: type -> function from a value to the constructor arguments of an equal one.
REBUILT: dict[type[Any], Callable[[Any], tuple[Any, ...]]] = {
    bytes: lambda value: (tuple(value),),
    bytearray: lambda value: (tuple(value),),
    complex: lambda value: (value.real, value.imag),
    range: lambda value: (value.start, value.stop, value.step),
    deque: lambda value: (tuple(value),),
    Fraction: lambda value: (value.numerator, value.denominator),
    Decimal: lambda value: (str(value),),
}
BUILDERS: dict[str, Callable[..., Any]] = {TAG + kind.__name__: kind for kind in REBUILT}
NODES: dict[str, tuple[Callable[[Any], list[Any]], Callable[[Any], Any]]] = {
    "ListNode": (leetcode.list_values, leetcode.list_node),
    "TreeNode": (leetcode.tree_values, leetcode.tree_node),
}
builtin_names = dict(vars(builtins))  # a copy from before any program ran


def pack(value: Any, name: Callable[[Any], tuple[Any, ...]], depth: int = codec.MAX_DEPTH) -> Any:
    """Return a value of any type as one that the codec accepts.

    name: returns the tagged tuple that stands for an object of any other type.
    """
    if depth < 0:
        raise codec.CodecError(f"nested deeper than {codec.MAX_DEPTH}")
    kind = type(value)
    if kind in codec.SCALARS:
        return value
    plain = next((base for base in PLAIN if issubclass(kind, base)), None)
    if plain is dict:
        pairs = dict.items(value)
        return {pack(key, name, depth - 1): pack(item, name, depth - 1) for key, item in pairs}
    if plain in (list, tuple, set, frozenset):
        return plain([pack(item, name, depth - 1) for item in plain.__iter__(value)])
    if plain is not None:
        return plain.__str__(value) if plain is str else plain.__pos__(value)
    if kind in REBUILT:
        return (TAG + kind.__name__, *(pack(part, name, depth - 1) for part in REBUILT[kind](value)))
    if kind.__name__ in NODES:
        return (TAG + kind.__name__, tuple(NODES[kind.__name__][0](value)))
    return name(value)


def unpack(value: Any, find: Callable[..., Any]) -> Any:
    """Return the value that was packed; `find(tag, *rest)` returns what any tag but a type's or a node's stands for."""
    kind = type(value)
    if kind is dict:
        return {unpack(key, find): unpack(item, find) for key, item in value.items()}
    if kind not in (list, tuple, set, frozenset):
        return value
    items = [unpack(item, find) for item in value]
    if kind is not tuple or not items or type(items[0]) is not str or not items[0].startswith(TAG):
        return kind(items)
    tag, *rest = items
    if tag in BUILDERS:
        return BUILDERS[tag](*rest)
    return NODES[tag[1:]][1](*rest) if tag[1:] in NODES else find(tag, *rest)


class Objects:
    """The candidate's side: calls its functions and keeps their results under the number of the call."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self.kept: dict[tuple[int, int], Any] = {}  # (call, 0): its result; (call, n): an object inside that
        self.calls = 0

    def call(self, text: str) -> Any:
        """Make one call, given as JSON {"function", "args", "kwargs"} (see `base.Task`), and return the packed result.

        If the function changed lists, sets or dicts among its arguments: (CHANGED, result, {position: new value}).
        """
        request = json.loads(text)
        number, self.calls = self.calls, self.calls + 1
        given: Any = codec.decode(request["args"])
        args = [unpack(value, self._find) for value in given]
        kwargs = {key: unpack(codec.decode(value), self._find) for key, value in request.get("kwargs", {}).items()}
        result = self._function(codec.decode(request["function"]))(*args, **kwargs)
        self.kept[number, 0] = result

        def name(value: Any) -> tuple[str, int, int]:
            place = 0 if value is result else len(self.kept)
            self.kept[number, place] = value
            return OBJECT, number, place

        packed = pack(result, name)
        changed = {}
        for position, (before, arg) in enumerate(zip(given, args, strict=True)):
            if type(arg) in (list, set, dict) and (after := pack(arg, name)) != before:
                changed[position] = after
        return (CHANGED, packed, changed) if changed else packed

    def _function(self, function: Any) -> Callable[..., Any]:
        """Return what `function` names: "f", "Solution().f", or a packed object."""
        if type(function) is not str:
            target = unpack(function, self._find)
        else:
            owner, dot, name = function.rpartition("().")
            if owner == "Solution" and owner not in self.scope:
                dot = ""  # the program has the function without the class
            target = getattr(self._find(GLOBAL, owner)(), name) if dot else self._find(GLOBAL, name)
        callee: Callable[..., Any] = target
        return callee

    def _find(self, tag: str, *where: Any) -> Any:
        if tag == OBJECT:
            return self.kept[where]
        [name] = where
        names = {GLOBAL: self.scope, BUILTIN: builtin_names}[tag]
        if name in names:
            return names[name]
        solution = self.scope.get("Solution") if tag == GLOBAL else None
        if solution is None or not hasattr(solution, name):
            raise NameError(f"name {name!r} is not defined")
        return getattr(solution(), name)  # as LeetCode's judge calls it

"""JSON answers: one value, parsed strictly, that satisfies a JSON Schema or equals a gold value.

Schemas are checked by jsonschema-rs. Its regular expressions take linear time, where (a+)+$ would hang Python's, at the
price of look-around and back-references: a schema with those is refused. Offline, a `$ref` fetches nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

LONGEST = 100_000  # characters of an answer
DEEPEST = 64  # brackets within brackets
_FENCE = re.compile(r"```[ \t]*(?:json[c5]?)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_OUTSIDE_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|[^\[\]{}]+')


class NotJson(ValueError):
    """The text is no JSON value, or not exactly one."""


def find_json(reply: str) -> str:
    """The JSON a reply consists of: its one fenced block, else all of it. NotJson when several blocks differ."""
    blocks = {block.strip() for block in _FENCE.findall(reply)}
    if len(blocks) > 1:
        raise NotJson(f"{len(blocks)} different blocks of JSON: give one")
    return blocks.pop() if blocks else reply.strip()


def parse(text: str) -> Any:
    """The value of a JSON text. NotJson for anything that the standard does not allow, and for a key written twice."""
    if len(text) > LONGEST:
        raise NotJson(f"{len(text)} characters, allowed are {LONGEST}")
    if _depth(text) > DEEPEST:
        raise NotJson(f"nests deeper than {DEEPEST} brackets")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # half a surrogate pair, 1e999
    except (ValueError, RecursionError) as error:
        raise NotJson(f"no valid JSON: {error}") from None
    return value


def refute(schema: Mapping[str, Any] | bool, value: Any) -> str | None:
    """Why a parsed value does not satisfy a schema, with the place; None when it does. ValueError: a bad schema."""
    error = next(_validator(json.dumps(schema)).iter_errors(value), None)
    if error is None:
        return None
    place = "".join(f"[{part!r}]" for part in error.instance_path)
    return f"{'value' + place}: {error.message[:200]}"


def same(wanted: Any, value: Any) -> bool:
    """Equal as JSON: the order of keys does not matter, 1 is 1.0, true is not 1."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    if isinstance(wanted, dict) and isinstance(value, dict):
        return wanted.keys() == value.keys() and all(same(wanted[key], value[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(same, wanted, value))
    return wanted == value


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    import jsonschema_rs

    patterns = jsonschema_rs.RegexOptions()
    try:
        return jsonschema_rs.validator_for(json.loads(schema), pattern_options=patterns, offline=True)
    except ValueError as error:
        raise ValueError(f"the schema cannot be used: {str(error).strip().splitlines()[0]}") from error


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _OUTSIDE_STRINGS.sub("", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")

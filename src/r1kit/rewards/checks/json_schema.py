"""JSON answers: one value, parsed strictly, that satisfies a JSON Schema or equals a gold value.

jsonschema-rs checks the schemas. Its regular expressions run in linear time, whereas (a+)+$ would hang Python's. A
schema with look-around or back-references is refused. Validation is offline: a remote `$ref` is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from r1kit.errors import require
from r1kit.rewards.checks.base import Row, Verifier
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_CHARACTERS = 100_000  # of an answer
MAX_DEPTH = 64  # brackets within brackets
_ABSENT = object()
_FENCE = re.compile(r"```[ \t]*(?:json[c5]?)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_OUTSIDE_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|[^\[\]{}]+')


class NotJson(ValueError):
    """The text is not exactly one JSON value."""


def find_json(reply: str) -> str:
    """Return the only fenced block of a reply, or else all of it. NotJson when it has several different blocks."""
    blocks = {block.strip() for block in _FENCE.findall(reply)}
    if len(blocks) > 1:
        raise NotJson(f"{len(blocks)} different JSON blocks: give one")
    return blocks.pop() if blocks else reply.strip()


def parse(text: str) -> Any:
    """Parse a JSON text. NotJson for all that the standard does not allow, and for duplicate keys."""
    if len(text) > MAX_CHARACTERS:
        raise NotJson(f"the answer has {len(text)} characters: at most {MAX_CHARACTERS} are allowed")
    if _depth(text) > MAX_DEPTH:
        raise NotJson(f"nests deeper than {MAX_DEPTH} brackets")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # a lone surrogate, 1e999
    except (ValueError, RecursionError) as error:
        raise NotJson(f"not valid JSON: {error}") from None
    return value


def refute(schema: Mapping[str, Any] | bool, value: Any) -> str | None:
    """Return where and why a parsed value violates a schema, or None when it does not.

    Raises:
        ValueError: the schema is invalid.
    """
    error = next(_validator(json.dumps(schema)).iter_errors(value), None)
    if error is None:
        return None
    path = "".join(f"[{part!r}]" for part in error.instance_path)
    return f"{'value' + path}: {error.message[:200]}"


def same(wanted: Any, value: Any) -> bool:
    """Compare as JSON: the order of keys does not matter, 1 equals 1.0, true does not equal 1."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return wanted is value
    if isinstance(wanted, dict) and isinstance(value, dict):
        return wanted.keys() == value.keys() and all(same(wanted[key], value[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(same, wanted, value))
    return bool(wanted == value)


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    require("jsonschema_rs", extra="schema")
    import jsonschema_rs

    patterns = jsonschema_rs.RegexOptions()
    try:
        return jsonschema_rs.validator_for(json.loads(schema), pattern_options=patterns, offline=True)
    except ValueError as error:
        raise ValueError(f"invalid schema: {str(error).strip().splitlines()[0]}") from error


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _OUTSIDE_STRINGS.sub("", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(unique := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return unique


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _read(problem: Problem) -> tuple[Any, Any]:
    """Return (schema or True, gold value or _ABSENT); ValueError when the schema is invalid."""
    schema = problem.extra.get("schema", True)
    refute(schema, None)
    return schema, problem.extra.get("value", _ABSENT)


def _judge(gold: tuple[Any, Any], reply: Reply) -> Verdict:
    schema, wanted = gold
    if not (body := reply.boxed_or_body):
        return reply.no_answer()
    try:
        text = find_json(body)
        value = parse(text)
    except NotJson as error:
        return Verdict(0.0, body, str(error), "unparseable")
    fault = refute(schema, value)
    if fault is None and wanted is not _ABSENT and not same(wanted, value):
        fault = "satisfies the schema, but is not the gold value"
    return Verdict(float(fault is None), text, fault or "right", "wrong" if fault else "right")


_SCHEMA_KEYS = set("$schema $ref type properties required items enum const anyOf allOf oneOf".split())


def _from_row(row: Row) -> dict[str, Any]:
    """Read the schema from `constraints` and the value from `gold`; without constraints gold may be the schema."""
    problem = row.get("problem")
    stated = problem.get("schema") if isinstance(problem, Mapping) else None
    schema, gold = row.get("constraints", row.get("schema", stated)), row.get("gold")
    if isinstance(gold, str):
        try:
            gold = json.loads(gold)
        except ValueError as error:
            raise ValueError(f"gold is not valid JSON: {error}") from error
    if schema is None and isinstance(gold, Mapping) and _SCHEMA_KEYS & gold.keys():
        schema, gold = gold, None
    return {"schema": schema, "value": gold}


def _canonical(gold: tuple[Any, Any], answer: str) -> str | None:
    """Return one text for equal JSON values; None for what is not JSON."""
    try:
        value = json.loads(json.dumps(parse(find_json(answer))), parse_float=_shortest)
    except NotJson:
        return None
    return json.dumps(value, sort_keys=True)


def _shortest(number: str) -> int | float:
    value = float(number)
    return int(value) if value.is_integer() else value


VERIFIER = Verifier(_read, _judge, _canonical, from_row=_from_row, warm_up=lambda: refute(True, None))

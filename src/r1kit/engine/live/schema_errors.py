"""Say in plain words why a constraint cannot be used; llguidance's own message follows in brackets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from r1kit.errors import require

DIALECT = "https://json-schema.org/draft/2020-12/schema"  # also of schemas that name another one: none is fetched
SHOWN = 60  # characters of a value
SUBJECTS = {"json_schema": "the schema", "lark": "the schema of a tool"}  # kind of a constraint -> what is wrong
MEANINGS = {  # part of llguidance's message -> what it means
    "Unimplemented keys": "has keywords that cannot be enforced here: leave them out",
    "Unsatisfiable schema": "is satisfied by no value",
    "regex parse error": "has a regular expression that is invalid, or not supported",
    "Unknown format": "has a format that is not known: leave it out, or give a pattern",
    "Pointer '": "has a $ref to what is not in it",
    "Resource '": "names another document, which is not fetched",
}


def plain_error(kind: str, detail: str, extra: str, schema: Mapping[str, Any] | None = None) -> str:
    """Return the message for a constraint that llguidance refuses.

    Args:
        kind: The kind of the constraint.
        detail: llguidance's message.
        extra: The extra of r1kit that installs jsonschema-rs.
        schema: The JSON Schema, to name the place where it is invalid.
    """
    known = (meaning for part, meaning in MEANINGS.items() if part in detail)
    reason = f"{SUBJECTS.get(kind, 'the constraint')} {next(known, 'cannot be used: change or simplify it')}"
    if schema is not None and (invalid := _invalid_place(schema, extra)) is not None:
        reason = invalid
    return f"{kind}: {reason} (llguidance: {' '.join(detail.split())})"


def _invalid_place(schema: Mapping[str, Any], extra: str) -> str | None:
    """Return which part of a schema is not allowed in a JSON Schema; None if all of it is."""
    library: Any = require("jsonschema_rs", extra)
    try:
        library.Draft202012Validator({**schema, "$schema": DIALECT}, offline=True)
    except library.ValidationError as error:
        if not error.instance_path:  # a $ref
            return None
        value: Any = schema
        for part in error.instance_path:
            value = value[part]
        shown = json.dumps(value, ensure_ascii=False)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        return f"{'.'.join(['schema', *map(str, error.instance_path)])} = {shown}: not allowed in a JSON Schema"
    except library.ReferencingError:
        return None
    return None

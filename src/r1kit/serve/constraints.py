"""The constraint of an answer that a request's `response_format` describes."""

from __future__ import annotations

import json

from r1kit.engine.live.base import Constraint
from r1kit.serve.requests import ResponseFormat


def constraint_of(wanted: ResponseFormat | None) -> Constraint | None:
    """Return the constraint of a format; None for text."""
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object" or wanted.json_schema is None:
        return Constraint("json_object")
    return Constraint("json_schema", json.dumps(wanted.json_schema.schema_))

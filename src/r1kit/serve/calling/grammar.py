"""The grammar of answers that may or must call tools, in the form of the model's chat template."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from r1kit.engine.live.base import Constraint
from r1kit.serve.calling.definitions import Choice
from r1kit.tools.base import Schema
from r1kit.tools.parse import FORMS, Form, Style

# JSON as chat templates write it, so that the model continues what it has seen.
NEWLINE = json.dumps("\n")
WRITTEN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def call_constraint(
    style: Style, schemas: Mapping[str, Schema], choice: Choice, parallel: bool, tokens: Collection[str] = ()
) -> Constraint | None:
    """Return the constraint under which every call is one of the tools with arguments that satisfy its schema.

    Args:
        style: How the chat template writes calls.
        schemas: The JSON Schema of the arguments of each tool that may be called.
        choice: With "auto", the answer may be text, and an engine without grammars may ignore the constraint.
        parallel: Whether an answer may have several calls.
        tokens: The tokenizer's added tokens. Tags among them are written as tokens.

    Returns:
        None where nothing can be constrained: text in which a call has no tag of its own.
    """
    form, must = FORMS[style], choice.kind == "required"
    if not must and not form.begin:
        return None
    call = f"call: ({' | '.join(_tool(form, name, schema, not must) for name, schema in schemas.items())})\n"
    if not form.begin:
        several = parallel and style == "openai"
        return Constraint("lark", 'start: "[" call (", " call)* "]"\n' + call if several else f"start: call\n{call}")
    begin, end = (tag if tag in tokens else json.dumps(tag) for tag in (form.begin, form.end))
    rest = f"{NEWLINE} call {NEWLINE} {end}"
    if must:
        more = f"({NEWLINE} {begin} {rest})*" if parallel else ""
        return Constraint("lark", f"start: {begin} {rest} {more}\n{call}")
    start = f"start: (begun {rest})* TEXT" if parallel else f"start: TEXT | begun {rest}"
    # A tag in letters could be text as well: the lazy rule ends the text before it.
    begun = f"begun: TEXT {begin}" if form.begin in tokens else f"begun[lazy]: ANY {begin}\nANY: /(?s:.*)/"
    text = f"TEXT: /(?s:.*)/ & ~/(?s:.*){form.begin}(?s:.*)/"
    return Constraint("lark", f"{start}\n{begun}\n{text}\n{call}", optional=True)


def _tool(form: Form, name: str, schema: Schema, lenient: bool) -> str:
    """Return the alternative that calls one tool."""
    options: dict[str, Any] = {**WRITTEN, **({"lenient": True} if lenient else {})}
    before = f'{{"name": {json.dumps(name)}, "{form.key}": '
    return f'{json.dumps(before)} %json {json.dumps({**schema, "x-guidance": options})} "}}"'

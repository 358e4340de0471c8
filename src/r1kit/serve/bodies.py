"""What all bodies of requests have in common: exact types, and no field of a client is dropped silently.

Fields of OpenAI's API that change no answer are ignored. Others that r1kit lacks are refused by name, unless they have
the value that leaves the answer unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from r1kit.data.problem_rows import is_unicode
from r1kit.serve.limits import MAX_DEPTH
from r1kit.web.refusal import Refused

IGNORED = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention "
    "prediction name annotations".split()
)
# Values with which a field that is not supported changes nothing; null is always one.
NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "tool_calls": ([],),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "verbosity": ("medium",),
    "refusal": (),
    "audio": (),
}


class Body(BaseModel):
    """Fields have exactly the JSON types that they name."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)


def refuse_unsupported(prefix: str, body: Body | None) -> None:
    """Refuse fields that would change the answer and are not supported. `prefix` is the path to the body."""
    for name, value in ((body and body.model_extra) or {}).items():
        if name not in IGNORED and value is not None and value not in NEUTRAL.get(name, ()):
            path = f"{prefix}{name}"
            raise Refused(400, f"{path} is not supported by this server: leave it out", path, "unsupported_parameter")


def check_values(body: object) -> object:
    """Refuse texts that no tokenizer accepts, and values so nested that a schema compiler could run out of stack."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        containers = [value for value in level if isinstance(value, dict | list)]
        texts = (value for value in level if isinstance(value, str))
        if not all(map(is_unicode, texts)):
            raise Refused(400, "a text is not valid Unicode: it has a lone surrogate")
        level = [each for values in containers for each in (values.values() if isinstance(values, dict) else values)]
        if not level:
            return body
    raise Refused(400, f"the body is nested more than {MAX_DEPTH} levels deep")


def text_of(content: object) -> object:
    """Return the text of a message whose content may be a list of text parts."""
    if content is None:
        raise ValueError("must be a text")
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError('parts must be {"type": "text", "text": ...}: images, audio and files cannot be read')
        texts.append(part["text"])
    return "".join(texts)


def one_or_more(value: object) -> object:
    """Return a list: of the only text, or of none for null."""
    return [value] if isinstance(value, str) else [] if value is None else value

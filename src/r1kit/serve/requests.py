"""Bodies of requests: which fields there are, and what is refused.

Fields of OpenAI's API that change no answer are ignored. Others that r1kit lacks are refused by name, unless they have
the value that leaves the answer unchanged. So nothing that a client asks for is dropped silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from r1kit.data.problem_rows import is_unicode
from r1kit.serve.limits import MAX_DEPTH, MAX_MESSAGES, MAX_N, MAX_PROMPTS, MAX_STOP, MAX_STOP_LENGTH
from r1kit.web.refusal import Refused

IGNORED = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention parallel_tool_calls "
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
REASONING_SENT_BACK = (
    "messages[{index}].reasoning_content: the model does not read earlier reasoning; remove reasoning_content from the "
    "message and send its content only"
)


class _Body(BaseModel):
    """Fields have exactly the JSON types that they name."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)


def _refuse_unsupported(prefix: str, body: _Body | None) -> None:
    """Refuse fields that would change the answer and are not supported. `prefix` is the path to the body."""
    for name, value in ((body and body.model_extra) or {}).items():
        if name not in IGNORED and value is not None and value not in NEUTRAL.get(name, ()):
            path = f"{prefix}{name}"
            raise Refused(400, f"{path} is not supported by this server: leave it out", path, "unsupported_parameter")


def _check_values(body: object) -> object:
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


def _text(content: object) -> object:
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


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else [] if value is None else value


def _prompts(value: object) -> object:
    """Refuse what is neither a prompt nor a list of prompts in one sentence; of a union, pydantic names every type."""
    given = [value] if isinstance(value, str) or _types(value) == {int} else value
    if not isinstance(given, list) or not (_types(given) == {str} or all(_types(each) <= {int} for each in given)):
        raise ValueError("must be a text, a list of token ids, or a list of texts or of such lists")
    if not 1 <= len(given) <= MAX_PROMPTS:
        raise ValueError(f"{len(given):,} prompts: must be from 1 to {MAX_PROMPTS}")
    return value


def _types(value: object) -> set[type]:
    """Return the types in a list; {object} for what is no list."""
    return {type(each) for each in value} if isinstance(value, list) else {object}


class Message(_Body):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]

    @model_validator(mode="before")
    @classmethod
    def _developer_is_system(cls, data: object) -> object:
        is_developer = isinstance(data, dict) and data.get("role") == "developer"
        return {**data, "role": "system"} if is_developer and isinstance(data, dict) else data


class StreamOptions(_Body):
    """How an answer is streamed."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    """With `include_usage`: the usage so far in every chunk, as vLLM sends it."""
    include_obfuscation: bool = False
    """Ignored."""


class JsonSchema(_Body):
    """A JSON Schema that an answer must satisfy."""

    schema_: dict[str, Any] = Field(alias="schema")
    name: str = ""
    description: str | None = None
    strict: bool | None = None
    """Ignored: answers always satisfy the schema."""


class ResponseFormat(_Body):
    """The format of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class _Sampling(_Body):
    """What both kinds of request have in common. The defaults are those of `r1kit sample`."""

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_STOP_LENGTH)]],
        BeforeValidator(_one_or_more),
        Field(max_length=MAX_STOP),
    ] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None

    @property
    def usage(self) -> StreamOptions:
        """Where a stream has the usage."""
        return self.stream_options or StreamOptions()

    @model_validator(mode="before")
    @classmethod
    def _check_all(cls, body: object) -> object:
        return _check_values(body)

    @model_validator(mode="after")
    def _check(self) -> _Sampling:
        """Refuse what is not supported, and fields that contradict each other."""
        wanted, streamed = self.response_format, self.stream_options
        schema = wanted.json_schema if wanted is not None else None
        _refuse_unsupported("", self)
        _refuse_unsupported("response_format.", wanted)
        _refuse_unsupported("response_format.json_schema.", schema)
        _refuse_unsupported("stream_options.", streamed)
        if wanted is not None and wanted.type == "json_schema" and schema is None:
            raise Refused(400, "response_format.json_schema is missing", "response_format.json_schema")
        if streamed is not None and not self.stream:
            raise Refused(400, "stream_options needs stream = true", "stream_options")
        return self


class ChatRequest(_Sampling):
    """The body of a request to /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @model_validator(mode="after")
    def _check_chat(self) -> ChatRequest:
        for index, message in enumerate(self.messages):
            if (message.model_extra or {}).get("reasoning_content") is not None:
                text = REASONING_SENT_BACK.format(index=index)
                raise Refused(400, text, f"messages[{index}].reasoning_content")
            _refuse_unsupported(f"messages[{index}].", message)
        if self.messages[-1].role != "user":
            raise Refused(400, f"the last message is from {self.messages[-1].role}: must be from user", "messages")
        if self.top_logprobs and not self.logprobs:
            raise Refused(400, "top_logprobs needs logprobs = true", "top_logprobs")
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and both[0] != both[1]:
            raise Refused(400, f"max_tokens and max_completion_tokens differ: {both[0]} and {both[1]}", "max_tokens")
        return self

    @property
    def token_limit(self) -> int | None:
        """Tokens of a completion, at most."""
        return self.max_completion_tokens if self.max_tokens is None else self.max_tokens

    @property
    def top(self) -> int:
        """How many of the likeliest tokens are returned with each."""
        return self.top_logprobs or 0


class CompletionRequest(_Sampling):
    """The body of a request to /v1/completions."""

    prompt: Annotated[str | list[str] | list[int] | list[list[int]], BeforeValidator(_prompts)]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    @property
    def token_limit(self) -> int | None:
        """Tokens of a completion, at most."""
        return self.max_tokens

    @property
    def top(self) -> int:
        """How many of the likeliest tokens are returned with each."""
        return self.logprobs or 0

    def prompts(self) -> list[str | list[int]]:
        """Return the prompts, one or several."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [each for each in self.prompt if not isinstance(each, int)]

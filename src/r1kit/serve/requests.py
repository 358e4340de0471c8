"""Bodies of requests: which fields there are, and what is refused. See bodies.py for fields that r1kit lacks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from r1kit.serve.bodies import Body, check_values, one_or_more, refuse_unsupported
from r1kit.serve.calling.definitions import Choice, Definition, check_tools, read_choice
from r1kit.serve.calling.messages import Message, check_conversation
from r1kit.serve.limits import MAX_MESSAGES, MAX_N, MAX_PROMPTS, MAX_STOP, MAX_STOP_LENGTH, MAX_TOOLS
from r1kit.web.refusal import Refused


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


class StreamOptions(Body):
    """How an answer is streamed."""

    include_usage: bool = False
    continuous_usage_stats: bool = False
    """With `include_usage`: the usage so far in every chunk, as vLLM sends it."""
    include_obfuscation: bool = False
    """Ignored."""


class JsonSchema(Body):
    """A JSON Schema that an answer must satisfy."""

    schema_: dict[str, Any] = Field(alias="schema")
    name: str = ""
    description: str | None = None
    strict: bool | None = None
    """Ignored: answers always satisfy the schema."""


class ResponseFormat(Body):
    """The format of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class _Sampling(Body):
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
        BeforeValidator(one_or_more),
        Field(default_factory=list, max_length=MAX_STOP),
    ]
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
        return check_values(body)

    @model_validator(mode="after")
    def _check(self) -> _Sampling:
        """Refuse what is not supported, and fields that contradict each other."""
        wanted, streamed = self.response_format, self.stream_options
        schema = wanted.json_schema if wanted is not None else None
        refuse_unsupported("", self)
        refuse_unsupported("response_format.", wanted)
        refuse_unsupported("response_format.json_schema.", schema)
        refuse_unsupported("stream_options.", streamed)
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
    tools: Annotated[list[Definition], BeforeValidator(one_or_more), Field(default_factory=list, max_length=MAX_TOOLS)]
    tool_choice: Annotated[Choice | None, PlainValidator(read_choice)] = None
    parallel_tool_calls: bool | None = None

    @property
    def choice(self) -> Choice:
        """What the answer does with tools."""
        return self.tool_choice or Choice("auto" if self.tools else "none")

    @model_validator(mode="after")
    def _check_chat(self) -> ChatRequest:
        check_conversation(self.messages)
        check_tools(self.tools, self.choice)
        if self.tools and self.choice.kind != "none" and self.response_format and self.response_format.type != "text":
            raise Refused(
                400, 'response_format and tools: leave one out, or send tool_choice = "none"', "response_format"
            )
        if self.top_logprobs and not self.logprobs:
            raise Refused(400, "top_logprobs needs logprobs = true", "top_logprobs")
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and both[0] != both[1]:
            raise Refused(400, f"max_tokens and max_completion_tokens differ: {both[0]} and {both[1]}", "max_tokens")
        return self

    @property
    def size(self) -> int:
        """Characters of messages and tools, about."""
        calls = [call for message in self.messages for call in message.tool_calls]
        texts = [message.content for message in self.messages] + [call.function.arguments for call in calls]
        return sum(map(len, texts)) + len(str(self.tools))

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

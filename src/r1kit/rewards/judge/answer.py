"""Parse what an OpenAI-compatible endpoint returns for a chat or for a text to continue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The first choice of a completion."""

    text: str  # without `reasoning`
    finish_reason: str
    prompt_tokens: int  # 0 if the endpoint does not say
    completion_tokens: int  # with those of the reasoning
    reasoning: str = ""  # what the endpoint returns apart from the text: `reasoning_content` or `reasoning`
    reasoning_tokens: int = 0  # of the completion tokens; 0 if the endpoint does not say
    first_token: Mapping[str, float] = field(default_factory=dict)  # log-probabilities of the first token's candidates

    @property
    def full_text(self) -> str:
        """The text with the reasoning before it in think tags; open tags if the reasoning was cut off."""
        if not self.reasoning:
            return self.text
        is_cut = self.finish_reason == "length" and not self.text
        return f"<think>\n{self.reasoning}" + ("" if is_cut else f"\n</think>\n\n{self.text}")


def parse_answer(raw: bytes) -> Answer:
    """Parse the body of a response. ValueError when it is no completion, or one without text."""
    try:
        value = json.loads(raw)
        choice, usage = value["choices"][0], value.get("usage") or {}
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        text, reasoning = message["content"], message.get("reasoning_content") or message.get("reasoning") or ""
        prompt_tokens, completion_tokens = (
            int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")
        )
        details = usage.get("completion_tokens_details") or {}
        reasoning_tokens = int(details.get("reasoning_tokens") or 0)
        first_token = _first_token(choice.get("logprobs"))
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a completion: {raw[:200]!r} ({type(error).__name__}: {error})") from error
    text = "" if text is None and reasoning else text  # nothing but reasoning
    if not (isinstance(text, str) and isinstance(reasoning, str)):
        raise ValueError(f"a completion without text: {raw[:200]!r}")
    reason = str(choice.get("finish_reason") or "")
    return Answer(text, reason, prompt_tokens, completion_tokens, reasoning, reasoning_tokens, first_token)


def _first_token(logprobs: Any) -> dict[str, float]:
    """Return the candidates for the first token of a chat; {} if they were not asked for or are not supported."""
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    candidates = (tokens[0].get("top_logprobs") or []) if tokens else []
    return {str(each["token"]): float(each["logprob"]) for each in candidates}

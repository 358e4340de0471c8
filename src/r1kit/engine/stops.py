"""What ends a completion: EOS tokens and stop strings.

A stop string ends a completion at the first token with which it is complete. That token is kept, with the text that it
may hold behind the stop string: the tokens, their log-probabilities and the text are those that were sampled. Tokens
that were sampled after it, up to the end of a block, are dropped. Each token depends on those before it only, so the
result is the same as if sampling had stopped there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from r1kit.data.template import end_of_answer
from r1kit.model.config import ModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def stop_tokens(config: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids that end a completion: those of the model, the tokenizer and its chat template."""
    found = {*config.eos_token_ids, tokenizer.eos_token_id, end_of_answer(tokenizer)}
    return found - {None}


def stop_length(
    token_ids: Sequence[int], start: int, strings: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> int | None:
    """Return how many tokens a completion has up to and including its first stop string, or None without one.

    Args:
        token_ids: The completion.
        start: How many of its tokens were searched before.
        strings: The stop strings.
        tokenizer: The tokenizer that decodes the completion.
    """
    if not strings:
        return None
    window = 1 + max(len(string.encode()) for string in strings)  # a token holds at least a byte

    def ends(first: int, last: int) -> bool:
        text = str(tokenizer.decode(list(token_ids[max(0, first - window) : last]), skip_special_tokens=True))
        return any(string in text for string in strings)

    if not ends(start, len(token_ids)):
        return None
    return next((n for n in range(start + 1, len(token_ids) + 1) if ends(n, n)), None)

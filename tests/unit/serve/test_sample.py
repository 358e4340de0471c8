"""One completion as it is sent: the same in whatever pieces its tokens arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.engine.live.base import LiveDelta
from r1kit.serve.sample import Sample
from r1kit.serve.text import ReasoningParser

TEXTS = [
    " <think> 4 plus 2 </think> <answer> 6 </answer>",
    "Well <b>. <think>6</think> 6",
    "a < b and <thin air",
    "</think>6",
]


@pytest.mark.parametrize("text", TEXTS)
@given(borders=st.lists(st.integers(0, 40), max_size=6))
def test_reasoning_tokens_do_not_depend_on_pieces(tokenizer, text: str, borders: list[int]) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)

    def added(ends: list[int]) -> tuple[str, str, list[tuple[int, bool]], int]:
        sample = Sample(0, tokenizer, (), ReasoningParser(think_open=False, answer_tags=True))
        starts = [0, *ends]
        pieces = []
        for start, end in zip(starts, [*ends, len(ids)], strict=True):
            part, reason = ids[start:end], "stop" if end == len(ids) else None
            pieces.append(sample.add(LiveDelta("x", 0, part, [0.0] * len(part), [], reason)))
            if reason:
                break
        tokens = [(token.id, token.is_reasoning) for piece in pieces for token in piece.tokens]
        texts = ["".join(parts) for parts in zip(*((piece.reasoning, piece.content) for piece in pieces), strict=True)]
        return texts[0], texts[1], tokens, sample.reasoning_tokens

    assert added(sorted(min(border, len(ids)) for border in borders)) == added([])
    assert [token for token, _ in added([])[2]] == ids

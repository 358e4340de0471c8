"""Text in pieces: whatever their borders, the parts are those of the complete text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.data.response import split_response
from r1kit.serve.text import Detokenizer, ReasoningParser, StopCutter

WORDS = st.lists(
    st.sampled_from(["4", " + ", "\n", "é", "🙂", "思", "<", "<th", "</", "/think>", "<answer", "a", " "]), max_size=12
).map("".join)


def cut(text: str, borders: list[int]) -> list[str]:
    """The text in pieces."""
    places = sorted({0, len(text), *(border % (len(text) + 1) for border in borders)})
    return [text[a:b] for a, b in pairwise(places)]


def parts(pieces: list[str], think_open: bool, answer_tags: bool = False) -> tuple[str, str]:
    """The reasoning and the content that are sent in all."""
    parser = ReasoningParser(think_open, answer_tags)
    sent = [*map(parser.feed, pieces), parser.finish()]
    return "".join(reasoning for reasoning, _ in sent), "".join(content for _, content in sent)


BORDERS = st.lists(st.integers(0, 99), max_size=40)


@given(WORDS, WORDS, BORDERS, st.booleans())
def test_well_formed_responses_are_parted_as_in_training(think: str, say: str, borders: list[int], open_: bool) -> None:
    text = f"{'' if open_ else ' <think>'}{think}</think>{say}"
    known = split_response(text, open_)
    if known.well_formed:
        assert parts(cut(text, borders), open_) == (known.thinking, known.summary)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "<thi", "x", " "])), BORDERS)
def test_no_tag_leaks_and_borders_change_nothing(pieces: list[str], borders: list[int]) -> None:
    text = "".join(pieces)
    for open_ in (False, True):
        complete = parts([text], open_, answer_tags=True)
        assert parts(cut(text, borders), open_, answer_tags=True) == complete == parts([*text], open_, answer_tags=True)
        assert not any(tag in part for part in complete for tag in ("<think>", "</think>"))
        assert "<answer>" not in complete[1] and "</answer>" not in complete[1]


@pytest.mark.parametrize(
    ("text", "think_open", "reasoning", "content"),
    [
        ("<think> 2 + 2 </think> <answer> 4 </answer>", False, "2 + 2", "4"),
        ("so 4</think>\n\n4", True, "so 4", "4"),
        ("<think>so 4</think>4", True, "so 4", "4"),
        ("never closed", True, "never closed", ""),
        ("a </thin", True, "a </thin", ""),
        ("1 <th 2 < 3", False, "", "1 <th 2 < 3"),
        ("no tags", False, "", "no tags"),
        ("stray</think> tag", False, "", "stray tag"),
        ("<think>a</think>b\n<think>c</think> d", False, "ac", "b\n d"),
        ("<think>write <answer> tags</think><answer>x</answer>", False, "write <answer> tags", "x"),
    ],
)
def test_parts_by_example(text: str, think_open: bool, reasoning: str, content: str) -> None:
    assert parts([*text], think_open, answer_tags=True) == (reasoning, content)


def test_text_is_sent_as_soon_as_it_cannot_be_a_tag() -> None:
    parser = ReasoningParser(think_open=False, answer_tags=False)
    assert parser.feed("a <th") == ("", "a")
    assert parser.feed("e") == ("", " <the")
    assert parser.feed("<answer>") == ("", "<answer>"), "kept where the template does not ask for these tags"


@given(
    st.text("abc \n", max_size=30), st.lists(st.text("abc \n", min_size=1, max_size=4), min_size=1, max_size=3), BORDERS
)
def test_texts_end_before_their_first_stop_string(text: str, stop: list[str], borders: list[int]) -> None:
    cutter = StopCutter(stop)
    sent = "".join(map(cutter.feed, cut(text, borders))) + cutter.finish()
    # Of stop strings that begin at different places, the one that is complete first ends the text.
    end = min((text.find(string) + len(string) for string in stop if string in text), default=None)
    assert cutter.stopped == (end is not None)
    if end is None:
        assert sent == text
    elif len(stop) == 1:
        assert sent == text[: text.find(stop[0])]
    assert not any(string in sent for string in stop)


@given(st.text(max_size=30), BORDERS)
def test_tokens_are_decoded_to_the_same_text_in_any_pieces(tokenizer, text: str, borders: list[int]) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    decoder = Detokenizer(tokenizer)
    pieces = [ids[a:b] for a, b in zip([0, *sorted(borders)], [*sorted(borders), len(ids)], strict=False)]
    assert "".join(map(decoder.feed, pieces)) == tokenizer.decode(ids).rstrip("\ufffd")


def test_half_a_character_is_never_sent(tokenizer) -> None:
    ids = tokenizer.encode("a🙂", add_special_tokens=False)
    decoder = Detokenizer(tokenizer)
    sent = [decoder.feed([token]) for token in ids]
    assert len(ids) >= 4 and sent[-1] == "🙂" and "".join(sent) == "a🙂"
    assert Detokenizer(tokenizer).feed(ids[:-1]) == "", "dropped at the end"
    decoder = Detokenizer(tokenizer)
    assert (
        decoder.feed([ids[0]]) == "a" and decoder.feed([tokenizer.eos_token_id]) == "" and decoder.feed(ids[1:]) == "🙂"
    )

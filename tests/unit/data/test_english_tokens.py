"""Sentences and words of English text as nltk counts them."""

from __future__ import annotations

import time

import pytest

from r1kit.data.language.english_tokens import count_capital_words, count_sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("no end\nof a line", 1),
        ("Dr. Holm came. He left!", 2),
        ("Mr. T. Smith is here, i.e. in the U.S. army.", 1),
        ("1. Wash the rice. 2. Cook it.", 4),  # numbers of lists count
        ("1. eggs and 2. ham", 1),  # not before a small letter
        ("Shops close at 5 p.m. The inn does not.", 2),
        ("Wait!!! What?! Really... yes... No.", 4),  # marks in a row are one end
        ("**Rain.** It falls.", 2),  # asterisks may follow an end
        ("So it is **over.**", 2),  # and are what follows the last end
        ('He said "Hi." Bye. (Why?) "Who?" he asked.', 5),
        ('"Stop!", he said.', 2),
        ("He said “Hi.” Then he left.", 1),  # typographic quotes hide the end
        ("See a.b or http://c.d/?e=f now", 1),
        ("Hi! 😊", 2),
    ],
)
def test_sentences_end_where_punkt_ends_them(text: str, count: int) -> None:
    assert count_sentences(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("NASA's AND/OR U.S. 10:30AM", 4),
        ("DON'T CANNOT", 4),  # two tokens each
        ("**HELLO** #TAG A—B (XYZ) HELLO,WORLD", 6),
        ("it's I'm C++ O'CLOCK [NAME] <<TITLE>> a Lower", 5),
        ("", 0),
    ],
)
def test_words_in_capitals_are_tokens_of_the_treebank(text: str, count: int) -> None:
    assert count_capital_words(text) == count


@pytest.mark.parametrize("piece", ["!", "'", ". ", ".\n", '("', "A.", ')."', "\n", "n't", "*."])
def test_long_texts_take_linear_time(piece: str) -> None:
    start = time.process_time()
    count_sentences(piece * (100_000 // len(piece)))
    count_capital_words(piece * (100_000 // len(piece)))
    assert time.process_time() - start < 3

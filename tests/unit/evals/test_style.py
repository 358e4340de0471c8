"""Reflective words and shares of languages, in English, Chinese and mixed text."""

from __future__ import annotations

import pytest

from r1kit.evals.style import other_language_share, reflective_words, repetition


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("7*6=42 so 42-4=38", 0),
        ("Wait, 7*6=42. But WAIT: check it again, however wrong.", 6),
        ("waiting for a butter checkpoint, errors and mistaken retries", 0),  # whole words only
        ("mistake however but retry error verify wrong evaluate check wait", 10),  # the paper's list
        ("等等，7*6=42。不过我检查一下：错误！但是", 5),
        ("等等wait再check一下", 3),  # no spaces around Chinese
        ("<think>wait</think>", 1),
    ],
)
def test_reflective_words(text, count):
    assert reflective_words(text) == count


@pytest.mark.parametrize(
    ("text", "language", "share"),
    [
        ("", "en", 0),
        ("7*6+13-4=51", "zh", 0),
        ("A,B", "zh", 0),  # single letters are names in every language
        ("The answer is 5.", "en", 0),
        ("The answer is 5.", "zh", 1),
        ("答案是5。", "zh", 0),
        ("A说B诚实", "en", 1),
        ("so 所以", "zh", 1 / 3),  # a character counts as much as a word
        ("答案是yes and 是no", "zh", 3 / 7),  # Latin words are found without spaces around them
        ("naïve Größe", "de", 0),
        ("first_name", "en", 0),
        ("答えは五です", "ja", 0),  # kanji and kana
        ("답은 정답은 yes", "ko", 1 / 3),
        ("Ответ пять 所以", "ru", 1 / 2),
        ("الجواب هو so", "ar", 1 / 3),
    ],
)
def test_other_language_share_of_one_text(text, language, share):
    assert other_language_share([text], [language]) == pytest.approx(share)


def test_word_of_several_scripts_is_one_word_in_another():
    assert other_language_share(["hello abпcd", "abп ab"], ["en", "en"]) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_other_language_share_is_a_mean_over_texts_with_words():
    texts = ["The answer", "答案", "so 所以", "so 所以", "12"]
    assert other_language_share(texts, ["en", "zh", "en", "zh", "zh"]) == pytest.approx((0 + 0 + 2 / 3 + 1 / 3) / 4)
    assert other_language_share([], []) == other_language_share(["1"], ["en"]) == 0
    with pytest.raises(ValueError, match="zip"):
        other_language_share(["a"], [])


def test_repetition_is_the_share_of_repeated_4_grams():
    assert repetition([]) == repetition([1, 2, 3]) == repetition(range(100)) == 0
    assert repetition([1] * 13) == pytest.approx(0.9)  # 10 4-grams, one distinct
    assert repetition([1, 2, 3, 4, 5, 1, 2, 3, 4]) == pytest.approx(1 / 6)


def test_repetition_reads_the_end_only():
    assert repetition([*[7] * 500, *range(1024)]) == 0
    assert repetition([*range(2000), *[7] * 1024]) > 0.99

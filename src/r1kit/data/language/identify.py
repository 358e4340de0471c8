"""Identify the language of a text, and count its words by language (DeepSeek-R1, section 3.2.2).

The script decides where it can: Hangul is Korean. Languages that share a script are identified sentence by sentence.
Frequent words decide first (`common_words`), which is fast and works for short sentences. The others are identified by
py3langid (139 languages), short ones together. In doubt, a sentence is in the target language, or without a target in
the main language of its script. Mixing of languages in one script within a sentence is not detected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from r1kit.data.language.common_words import WITH_COMMON_WORDS
from r1kit.data.language.scripts import LANGUAGE_NAMES, LANGUAGES, SAME, SCRIPTS
from r1kit.data.language.words import COLUMN, SCRIPT_NAMES, Words, text_of, words_of
from r1kit.errors import UserError
from r1kit.synonyms import nearest

MAX_CHARACTERS = 100_000  # of a longer text, the first and the last half of this number are read
ONE_LANGUAGE = 0.9  # share of words from which a text counts as being in one language; undisclosed in the paper
DEFAULT = "en"  # of a question without words; the prompt templates, its only words then, are English
LONG_SENTENCE = 5  # words from which a sentence alone is evidence of a language
COMMON = 0.2  # share of common words in a sentence from which they identify its language
CLEAR = 0.3  # share of common words from which no other evidence is needed
EVIDENCE = 0.6  # probability from which py3langid's verdict is evidence
TARGET = 0.2  # probability from which a sentence may be in the target language
SAMPLE = 2_000  # characters that identify the main language of a text


class _Sentences(NamedTuple):
    """The words of one script, sentence by sentence. Shapes: M words, R sentences, C languages with common words."""

    words: Words
    word_M: NDArray[np.intp]
    """Index of the word in `words`."""
    start_R: NDArray[np.intp]
    """First word of each sentence, an index into word_M."""
    size_R: NDArray[np.intp]
    """Number of words."""
    votes_RC: NDArray[np.intp]
    """Number of words that are common in each of the possible languages."""

    def text(self, *sentences: int) -> str:
        """Return the words of some sentences."""
        parts = [self.word_M[self.start_R[r] : self.start_R[r] + self.size_R[r]] for r in sentences]
        return text_of(self.words, np.concatenate(parts))


class _Identifier(Protocol):
    """The part of py3langid's LanguageIdentifier that is used here."""

    def rank(self, text: str) -> list[tuple[str, float]]: ...


def consistency(text: str, target: str, among: Collection[str] = ()) -> float:
    """Return the share of words in the `target` language, 0 to 1; 1 for a text without words.

    among: the only languages that can occur, if known. With one language per script, as in the sprout world, the
    result is exact.
    """
    counts = word_counts(text, target, among)
    return counts[language_code(target)] / counts.total() if counts else 1.0


def question_language(question: str) -> str:
    """Return the main language of a question as an ISO 639-1 code; DEFAULT for formulas and numbers alone."""
    return dominant(question) or DEFAULT


def dominant(text: str) -> str | None:
    """Return the main language of the script with the most words; None for a text without words."""
    words = words_of(_shortened(text))
    if not len(words.script_N):
        return None
    script = SCRIPT_NAMES[np.bincount(words.script_N).argmax()]
    possible = _possible(script, None, (), has_kana=SCRIPT_NAMES.index("Kana") in words.script_N)
    return possible[0] if len(possible) == 1 else _main_language(_sentences(words, script, possible), possible)


def word_counts(text: str, target: str | None = None, among: Collection[str] = ()) -> Counter[str]:
    """Count the words of each language; see `consistency` for the arguments."""
    target_code = None if target is None else language_code(target)
    words = words_of(_shortened(text))
    counts: Counter[str] = Counter()
    scripts = [SCRIPT_NAMES[i] for i in np.unique(words.script_N)]
    for script in scripts:
        possible = _possible(script, target_code, among, "Kana" in scripts)
        main = target_code if target_code in possible else None
        if len(possible) == 1:
            counts[possible[0]] += int(np.count_nonzero(words.script_N == SCRIPT_NAMES.index(script)))
            continue
        sentences = _sentences(words, script, possible)
        if script == "Han":
            counts += _count_han(sentences)
        else:
            counts += _count(sentences, possible, main or _main_language(sentences, possible))
    return counts


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS // 2]}\n{text[-MAX_CHARACTERS // 2 :]}"


def language_code(language: str) -> str:
    """Return the ISO 639-1 code of "English", "en", "zh-CN" or "中文". Raises UserError for an unknown language."""
    code = known_language(language)
    if code is None:
        close = nearest(language.strip().casefold(), [*LANGUAGE_NAMES, *LANGUAGES])
        raise UserError(
            f"unknown language {language!r}: {f'did you mean {close}? ' if close else ''}"
            f"Use an ISO 639-1 code ({', '.join(sorted(LANGUAGES))}) or an English name"
        )
    return code


def known_language(language: str) -> str | None:
    """Return the ISO 639-1 code as in `language_code`; None for an unknown language."""
    name = language.strip().casefold()
    code = LANGUAGE_NAMES.get(name) or re.split("[-_]", name)[0]
    code = SAME.get(code, code)
    return code if code in LANGUAGES else None


def _possible(script: str, target: str | None, among: Collection[str], has_kana: bool) -> tuple[str, ...]:
    """Return the languages that words of a script may be in."""
    if script == "Han" and target != "ja" and (target == "zh" or not has_kana):
        return ("zh",)
    languages = SCRIPTS[script].languages
    return tuple(code for code in languages if code in among) or languages


def _sentences(words: Words, script: str, possible: Collection[str]) -> _Sentences:
    word = np.flatnonzero(words.script_N == SCRIPT_NAMES.index(script))
    start = np.flatnonzero(np.diff(words.sentence_N[word], prepend=-1))
    votes = np.add.reduceat(words.table.common_VC[words.row_N[word]], start, axis=0, dtype=np.intp)
    votes *= [code in possible for code in COLUMN]
    return _Sentences(words, word, start, np.diff(start, append=len(word)), votes)


def _count_han(sentences: _Sentences) -> Counter[str]:
    """Count sentences without kana in a Japanese text: Chinese if they have characters that Japanese does not use."""
    is_chinese = sentences.votes_RC.any(axis=1)
    chinese, japanese = (int(sentences.size_R[which].sum()) for which in (is_chinese, ~is_chinese))
    return +Counter({"zh": chinese, "ja": japanese})


def _main_language(sentences: _Sentences, possible: Sequence[str]) -> str:
    """Return the main language of the words of one script; the first of `possible` without any evidence."""
    size, votes_C = int(sentences.size_R.sum()), sentences.votes_RC.sum(axis=0)
    by_votes = max(possible, key=lambda code: votes_C[COLUMN[code]] if code in COLUMN else 0)
    second, most = np.sort(votes_C)[-2:]
    if most >= CLEAR * size and most >= 2 * second:
        return by_votes
    likely = _likelihoods(sentences.text(*range(len(sentences.size_R)))[:SAMPLE], possible)
    best = max(likely, key=likely.__getitem__)
    if size >= 2 * LONG_SENTENCE and (best not in COLUMN or votes_C[COLUMN[best]] >= COMMON * size):
        return best
    if most:
        return by_votes
    return best if likely[best] >= EVIDENCE else possible[0]


def _count(sentences: _Sentences, possible: Sequence[str], main: str) -> Counter[str]:
    """Count the words of one script by language; in doubt, a sentence is in the language `main`."""
    size_R, votes_RC = sentences.size_R, sentences.votes_RC
    language_R = _by_common_words(size_R, votes_RC, main)
    counts: Counter[str] = Counter()
    for column in np.unique(language_R[language_R >= 0]):
        counts[WITH_COMMON_WORDS[column]] += int(size_R[language_R == column].sum())
    unclear = language_R < 0
    groups = [[int(r)] for r in np.flatnonzero(unclear & (size_R >= LONG_SENTENCE))]
    if short := np.flatnonzero(unclear & (size_R < LONG_SENTENCE)).tolist():
        groups.append(short)  # together they may be evidence
    for group in groups:
        size, votes_C = size_R[group].sum(), votes_RC[group].sum(axis=0)
        column = _by_common_words(size[None], votes_C[None], main, margin=1 if size < LONG_SENTENCE else 2)[0]
        if column >= 0:
            counts[WITH_COMMON_WORDS[column]] += int(size)
        else:
            counts[_by_letters(sentences.text(*group), votes_C, possible, main)] += int(size)
    return counts


def _by_common_words(
    size_R: NDArray[np.intp], votes_RC: NDArray[np.intp], main: str, margin: int = 2
) -> NDArray[np.intp]:
    """Return the language, as an index in COLUMN, that common words of each sentence show; -1 if they do not.

    margin: Number of votes by which another language must exceed `main`.
    """
    if main not in COLUMN:
        return np.full(len(size_R), -1)
    own_R, most_R, best_R = votes_RC[:, COLUMN[main]], votes_RC.max(axis=1), votes_RC.argmax(axis=1)
    language_R = np.where(own_R == most_R, COLUMN[main], np.where(most_R - own_R >= margin, best_R, -1))
    return np.where((most_R > 0) & (most_R >= COMMON * size_R), language_R, -1)


def _by_letters(text: str, votes_C: NDArray[np.intp], possible: Sequence[str], main: str) -> str:
    """Return the language of a text by its sequences of letters."""
    likely = _likelihoods(text, possible)
    best = max(likely, key=likely.__getitem__)
    if likely[best] < EVIDENCE or likely[main] >= TARGET:
        return main
    is_unusual = best in COLUMN and main in COLUMN and votes_C[COLUMN[best]] < votes_C[COLUMN[main]]
    return main if is_unusual else best


def _likelihoods(text: str, languages: Collection[str]) -> dict[str, float]:
    """Return the probability of each language, given that the text is in one of them."""
    probabilities = _identify(text)
    total = sum(probabilities.get(code, 0.0) for code in languages)
    return {code: probabilities.get(code, 0.0) / total if total else 1 / len(languages) for code in languages}


@lru_cache(maxsize=2048)
def _identify(text: str) -> dict[str, float]:
    """Return the languages with a probability above 1e-6."""
    probabilities: dict[str, float] = {}
    for code, probability in _identifier().rank(text):
        if probability > 1e-6:
            code = SAME.get(code, code)
            probabilities[code] = probabilities.get(code, 0.0) + probability
    return probabilities


def load() -> None:
    """Load the identifier, which takes about a second."""
    _identifier()


@lru_cache(maxsize=1)
def _identifier() -> _Identifier:
    # py3langid ships no type stubs
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier: _Identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier

"""Count the words of a text by language, and measure language consistency (DeepSeek-R1, section 3.2.2).

The script decides where it can: Han without kana is Chinese, Hangul is Korean. Languages that share a script are
identified sentence by sentence with py3langid (139 languages); short sentences take the languages of the long ones.
Code, formulas, links, digits, single letters, acronyms and names (a capital inside a sentence) have no language.
Mixing of languages in one script within a sentence is not detected: the sentence counts as its main language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from r1kit.errors import UserError
from r1kit.rewards.language.scripts import LANGUAGE_NAMES, NOT_TEXT, SAME, SCRIPTS, SENTENCE_END, WORD
from r1kit.synonyms import nearest

MAX_CHARACTERS = 100_000  # of a longer text, the first and the last half of this number are read
LONG_SENTENCE = 5  # words from which a sentence alone is evidence of a language
ONE_LANGUAGE = 0.9  # share of words from which a text counts as being in one language; undisclosed in the paper
EVIDENCE = 0.6  # probability from which such a sentence is evidence
TARGET = 0.4  # probability, among the languages of the text, from which a sentence counts as the target language


class Run(NamedTuple):
    """The words of one script within one sentence."""

    script: str
    text: str  # words separated by blanks
    words: int


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


def dominant(text: str) -> str | None:
    """Return the language with the most words as an ISO 639-1 code; None for a text without words."""
    counts = word_counts(text)
    return min(counts, key=lambda code: (-counts[code], code)) if counts else None


def word_counts(text: str, target: str | None = None, among: Collection[str] = ()) -> Counter[str]:
    """Count the words of each language; see `consistency` for the arguments."""
    target_code = None if target is None else language_code(target)
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS // 2] + "\n" + text[-MAX_CHARACTERS // 2 :]
    runs = list(_runs(text))
    candidates = {script: _candidates(script, runs, target_code, among) for script in {run.script for run in runs}}
    counts: Counter[str] = Counter()
    last = {script: languages[0] for script, languages in candidates.items()}
    for run in runs:
        last[run.script] = _language(run, candidates[run.script], target_code, last[run.script])
        counts[last[run.script]] += run.words
    return counts


def language_code(language: str) -> str:
    """Return the ISO 639-1 code of "English", "en", "zh-CN" or "中文". Raises UserError for an unknown language."""
    name = language.strip().casefold()
    code = LANGUAGE_NAMES.get(name) or re.split("[-_]", name)[0]
    code = SAME.get(code, code)
    known = {language for script in SCRIPTS.values() for language in script.languages}
    if code not in known:
        close = nearest(name, [*LANGUAGE_NAMES, *known])
        raise UserError(
            f"unknown language {language!r}: {f'did you mean {close}? ' if close else ''}"
            f"Use an ISO 639-1 code ({', '.join(sorted(known))}) or an English name"
        )
    return code


def _runs(text: str) -> Iterator[Run]:
    """Yield the words of each script, sentence by sentence, without names and single letters."""
    for sentence in SENTENCE_END.split(NOT_TEXT.sub(" ", text)):
        by_script: dict[str, list[str]] = {}
        shouting = sentence.isupper()
        for position, match in enumerate(WORD.finditer(sentence)):
            word, script = match[0], str(match.lastgroup)
            name = word[0].isupper() and (position > 0 or (len(word) > 1 and word.isupper())) and not shouting
            if not name and len(word) >= SCRIPTS[script].shortest:
                by_script.setdefault(script, []).append(word)
        if "Kana" in by_script:  # Japanese uses both scripts
            by_script["Kana"] += by_script.pop("Han", [])
        for script, words in by_script.items():
            size = SCRIPTS[script].characters_per_word
            count = sum(-(-len(word) // size) for word in words) if size else len(words)
            yield Run(script, " ".join(words), count)


def _candidates(script: str, runs: list[Run], target: str | None, among: Collection[str]) -> list[str]:
    """Return the languages of one script in the text, the most frequent first; always includes the target language."""
    possible = SCRIPTS[script].languages
    if among and (allowed := [code for code in possible if code in among]):
        possible = tuple(allowed)
    if len(possible) == 1:
        return list(possible)
    script_runs = [run for run in runs if run.script == script]
    evidence: Counter[str] = Counter()
    for run in script_runs:
        if run.words >= LONG_SENTENCE:
            likely = _likelihoods(run.text, possible)
            best = max(likely, key=likely.__getitem__)
            evidence[best] += run.words * (likely[best] >= EVIDENCE)
    if not evidence.total():
        likely = _likelihoods(" ".join(run.text for run in script_runs), possible)
        evidence[max(likely, key=likely.__getitem__)] = 1
    languages = [code for code, words in evidence.most_common() if words]
    return languages if target not in possible or target in languages else [*languages, str(target)]


def _language(run: Run, candidates: list[str], target: str | None, previous: str) -> str:
    """Return the language of one sentence: in doubt the target, for a single word else the previous language."""
    if len(candidates) == 1:
        return candidates[0]
    if run.words == 1:
        return target if target in candidates else previous
    likely = _likelihoods(run.text, candidates)
    return target if target in likely and likely[target] >= TARGET else max(likely, key=likely.__getitem__)


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


@lru_cache(maxsize=1)
def _identifier() -> _Identifier:
    # py3langid ships no type stubs, and loading it takes a second
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier: _Identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier

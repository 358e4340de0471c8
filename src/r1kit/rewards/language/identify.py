"""Which languages a text is in, word by word, and how much of it is in the one it should be in (paper: 3.2.2).

The script settles what it can: Han without kana is Chinese, Hangul is Korean. Where languages share a script, sentences
are identified by py3langid (139 languages), and short ones by what the long ones around them are. What is no running
text belongs to no language: code, formulas, links, digits, single letters, acronyms, and names (a capital within a
sentence). Mixing of one script within a sentence is beyond this: it counts as the sentence's main language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from r1kit.errors import UserError, nearest
from r1kit.rewards.language.scripts import LANGUAGE_NAMES, NOT_TEXT, SAME, SCRIPTS, SENTENCE_END, WORD

LONGEST = 100_000  # characters; of what is longer, the first and the last half of as many are read
LONG = 5  # words from which a sentence is evidence of a language by itself
ONE_LANGUAGE = 0.9  # share of words from which a text counts as being in one language
SURE = 0.6  # probability from which such a sentence counts as evidence
DOUBT = 0.4  # probability, against the others found, from which a sentence counts as being in the target language


class Run(NamedTuple):
    """The words of one script within one sentence."""

    script: str
    text: str  # separated by blanks
    words: int


def consistency(text: str, target: str, among: Collection[str] = ()) -> float:
    """The share of words that are in the `target` language, 0 to 1; 1 where there is no word at all.

    `among`: the only languages that occur, when that is known. With one for each script, as in the sprout world, the
    answer is exact.
    """
    found = word_counts(text, target, among)
    return found[code_of(target)] / found.total() if found else 1.0


def dominant(text: str) -> str | None:
    """The language with the most words, as an ISO 639-1 code; None without any word."""
    found = word_counts(text)
    return min(found, key=lambda code: (-found[code], code)) if found else None


def word_counts(text: str, target: str | None = None, among: Collection[str] = ()) -> Counter[str]:
    """How many words are in which language."""
    wanted = None if target is None else code_of(target)
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + "\n" + text[-LONGEST // 2 :]
    runs = list(_runs(text))
    candidates = {script: _candidates(script, runs, wanted, among) for script in {run.script for run in runs}}
    counts: Counter[str] = Counter()
    last = {script: languages[0] for script, languages in candidates.items()}
    for run in runs:
        last[run.script] = _language(run, candidates[run.script], wanted, last[run.script])
        counts[last[run.script]] += run.words
    return counts


def code_of(language: str) -> str:
    """ "English", "en", "zh-CN", "中文" -> the ISO 639-1 code. UserError when no such language is known."""
    name = language.strip().casefold()
    code = LANGUAGE_NAMES.get(name) or re.split("[-_]", name)[0]
    code = SAME.get(code, code)
    known = {language for script in SCRIPTS.values() for language in script.languages}
    if code not in known:
        close = nearest(name, [*LANGUAGE_NAMES, *known])
        raise UserError(
            f"unknown language {language!r}: {f'did you mean {close}? ' if close else ''}"
            f"Give an ISO 639-1 code ({', '.join(sorted(known))}) or an English name"
        )
    return code


def _runs(text: str) -> Iterator[Run]:
    """Sentence by sentence, the words of each script that counts."""
    for sentence in SENTENCE_END.split(NOT_TEXT.sub(" ", text)):
        by_script: dict[str, list[str]] = {}
        shouting = sentence.isupper()
        for position, match in enumerate(WORD.finditer(sentence)):
            word, script = match[0], str(match.lastgroup)
            name = word[0].isupper() and (position > 0 or (len(word) > 1 and word.isupper())) and not shouting
            if not name and len(word) >= SCRIPTS[script].shortest:
                by_script.setdefault(script, []).append(word)
        if "Kana" in by_script:  # Japanese writes with both
            by_script["Kana"] += by_script.pop("Han", [])
        for script, words in by_script.items():
            size = SCRIPTS[script].characters_per_word
            count = sum(-(-len(word) // size) for word in words) if size else len(words)
            yield Run(script, " ".join(words), count)


def _candidates(script: str, runs: list[Run], wanted: str | None, among: Collection[str]) -> list[str]:
    """The languages of one script that occur in the text, likeliest first; the wanted one is always one of them."""
    possible = SCRIPTS[script].languages
    if among and (left := [code for code in possible if code in among]):
        possible = tuple(left)
    if len(possible) == 1:
        return list(possible)
    own = [run for run in runs if run.script == script]
    evidence: Counter[str] = Counter()
    for run in own:
        if run.words >= LONG:
            likely = _likelihoods(run.text, possible)
            best = max(likely, key=likely.__getitem__)
            evidence[best] += run.words * (likely[best] >= SURE)
    if not evidence.total():
        likely = _likelihoods(" ".join(run.text for run in own), possible)
        evidence[max(likely, key=likely.__getitem__)] = 1
    found = [code for code, words in evidence.most_common() if words]
    return found if wanted not in possible or wanted in found else [*found, str(wanted)]


def _language(run: Run, candidates: list[str], wanted: str | None, before: str) -> str:
    """The language of one sentence: the wanted one when in doubt, else what was spoken before."""
    if len(candidates) == 1:
        return candidates[0]
    if run.words == 1:
        return wanted if wanted in candidates else before
    likely = _likelihoods(run.text, candidates)
    return wanted if wanted in likely and likely[wanted] >= DOUBT else max(likely, key=likely.__getitem__)


def _likelihoods(text: str, languages: Collection[str]) -> dict[str, float]:
    """How likely each of some languages is, if it is one of them."""
    probabilities = _identify(text)
    total = sum(probabilities.get(code, 0.0) for code in languages)
    return {code: probabilities.get(code, 0.0) / total if total else 1 / len(languages) for code in languages}


@lru_cache(maxsize=2048)
def _identify(text: str) -> dict[str, float]:
    """The probability of every language that is at all likely."""
    found: dict[str, float] = {}
    for code, probability in _identifier().rank(text):
        if probability > 1e-6:
            code = SAME.get(code, code)
            found[code] = found.get(code, 0.0) + probability
    return found


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

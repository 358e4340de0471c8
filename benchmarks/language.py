"""Time the language reward on long answers, and compare it with a plain implementation of the same rules.

python benchmarks/language.py [--answers 512]

Answers have 20,000 characters of sentences drawn at random: English, Chinese, English with code and formulas, and
English with Chinese and German sentences. The plain implementation describes every word anew and loops over words and
sentences. It reads `--plain` of the answers, and its shares must be equal. Uses one thread; prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from random import Random

from machine import describe, today

from r1kit.data.language import identify, words
from r1kit.data.language.common_words import LANGUAGES_OF, WITH_COMMON_WORDS
from r1kit.data.language.scripts import SCRIPTS

ENGLISH = [
    "Wait, let me check the second equation again",
    "Alternatively, we could use the quadratic formula, because the discriminant is positive",
    "So the remaining length of segment {} is {} units, which is what we need",
    "Hmm, that gives two roots, but only one of them lies in the interval",
    "If Alice buys {} apples and Bob buys {}, they have {} apples together",
    "Prime factorization: {}",
    "This contradicts the assumption about triangle ABC",
]
CHINESE = [
    "等一下，我们再检查第{}个方程",
    "另外，也可以使用求根公式，因为判别式大于零",
    "所以线段 AB 的长度是{}，这就是我们需要的结果",
    "如果小明买了{}个苹果，小红买了{}个，他们一共有{}个苹果",
]
GERMAN = ["Dann addieren wir die beiden Zahlen {} und {}", "Moment, das stimmt noch nicht ganz"]
FORMULAS = ["$x_{} = \\frac{{{}}}{{7}}$", "`total = sum(values[:{}])`", "\\[ a^2 + {} = c^2 \\]", "gcd({}, {}) = {}"]
KINDS = {
    "english": (ENGLISH, "en", ". "),
    "chinese": (CHINESE, "zh", "。"),
    "formulas": (ENGLISH + FORMULAS, "en", ". "),
    "mixed": (ENGLISH + CHINESE + GERMAN, "en", ". "),
}


def answer(rng: Random, kind: str, characters: int) -> str:
    """Return an answer of about this length."""
    sentences, _, stop = KINDS[kind]
    parts: list[str] = []
    length = 0
    while length < characters:
        numbers = (rng.randrange(1000) for _ in range(4))
        parts.append(rng.choice(sentences).format(*numbers) + stop + "\n" * (rng.random() < 0.2))
        length += len(parts[-1])
    return "".join(parts)


def plain(text: str, target: str) -> float:
    """Return the same share as `identify.consistency`, for texts in Latin letters and Chinese."""
    counts: Counter[str] = Counter()
    short: list[tuple[int, Counter[str], str]] = []
    for sentence in sentences(text):
        chinese = sum(script == "Han" for script, _, _ in sentence)
        latin = [(token, common_in) for script, token, common_in in sentence if script == "Latin"]
        counts["zh"] += chinese
        if latin:
            votes = Counter(code for _, common_in in latin for code in common_in)
            text_of_words = " ".join(token for token, _ in latin)
            if code := by_votes(len(latin), votes, target, 2):
                counts[code] += len(latin)
            elif len(latin) >= identify.LONG_SENTENCE:
                counts[by_letters(text_of_words, votes, target)] += len(latin)
            else:
                short.append((len(latin), votes, text_of_words))
    if short:
        size, votes = sum(n for n, _, _ in short), sum((v for _, v, _ in short), Counter())
        code = by_votes(size, votes, target, 1 if size < identify.LONG_SENTENCE else 2)
        counts[code or by_letters(" ".join(t for _, _, t in short), votes, target)] += size
    return counts[target] / counts.total() if counts.total() else 1.0


def sentences(text: str) -> list[list[tuple[str, str, list[str]]]]:
    """Return (script, token, languages in which it is common) of the words of each sentence, without names."""
    found: list[list[tuple[str, str, list[str]]]] = []
    sentence: list[tuple[str, words.Table]] = []
    for token in [*words._TOKEN.findall(words._NOT_TEXT.sub(" ", text)), "\n"]:
        row = words.Table._make(words._describe(token))
        if row.script_V >= 0:
            sentence.append((token, row))
        if row.script_V == words._END and sentence:
            found.append(named_out(sentence))
            sentence = []
    return found


def named_out(sentence: list[tuple[str, words.Table]]) -> list[tuple[str, str, list[str]]]:
    """Return the words of a sentence without names and acronyms."""
    has_case = all(SCRIPTS[words.SCRIPT_NAMES[row.script_V]].has_case for _, row in sentence)
    kept = []
    for i, (token, row) in enumerate(sentence):
        begins = i == 0 and not row.acronym_V and (has_case or row.is_common_V)
        if not row.capital_V or begins:
            text = token.rstrip("=^+*/<> ")
            kept.append((words.SCRIPT_NAMES[row.script_V], text, list(LANGUAGES_OF.get(text.lower(), ()))))
    return kept


def by_votes(size: int, votes: Counter[str], target: str, margin: int) -> str | None:
    """Return the language that common words of a sentence show."""
    possible = SCRIPTS["Latin"].languages
    counted = [(votes[code], code) for code in WITH_COMMON_WORDS if code in possible]
    most, best = max(counted, key=lambda pair: pair[0])
    if not most or most < identify.COMMON * size:
        return None
    return target if votes[target] == most else best if most - votes[target] >= margin else None


def by_letters(text: str, votes: Counter[str], target: str) -> str:
    """Return the language of a sentence by py3langid, without a cache."""
    identify._identify.cache_clear()
    likely = identify._likelihoods(text, SCRIPTS["Latin"].languages)
    likely.setdefault(target, 0.0)
    best = max(likely, key=likely.__getitem__)
    if likely[best] < identify.EVIDENCE or likely[target] >= identify.TARGET:
        return target
    return target if best in WITH_COMMON_WORDS and votes[best] < votes[target] else best


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--answers", type=int, default=512, help="answers of each kind")
    arguments.add_argument("--plain", type=int, default=8, help="answers of each kind that the plain way reads")
    arguments.add_argument("--characters", type=int, default=20_000, help="of one answer")
    options = arguments.parse_args()
    identify.load()
    rng, result, total = Random(0), {}, {"ours": 0.0, "plain": 0.0}
    for kind, (_, target, _) in KINDS.items():
        texts = [answer(rng, kind, options.characters) for _ in range(options.answers)]
        start = time.process_time()
        shares = [identify.consistency(text, target) for text in texts]
        ours = (time.process_time() - start) / len(texts)
        some = texts[: options.plain]
        start = time.process_time()
        expected = [plain(text, target) for text in some]
        slow = (time.process_time() - start) / len(some)
        if target == "en" and shares[: len(some)] != expected:
            raise SystemExit(f"{kind}: the shares differ: {shares[: len(some)]} and {expected}")
        result[kind] = {
            "ours_ms": round(1e3 * ours, 2),
            "plain_ms": round(1e3 * slow, 2),
            "ratio": round(slow / ours, 1),
        }
        total = {"ours": total["ours"] + ours, "plain": total["plain"] + slow}
    seconds = 8192 * total["ours"] / len(KINDS)
    report = {"bench": "language", **result, "ratio": round(total["plain"] / total["ours"], 1)}
    report |= {"seconds_for_8192": round(seconds, 1), "machine": describe(), "date": today()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()

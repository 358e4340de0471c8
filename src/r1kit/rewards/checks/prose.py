"""Short texts that follow rules (`world:instructions`), and what the rules must not cost: prose on the topic.

Three rewards: `rules_kept` (the share of IFEval's constraints kept), `prose` (a complete text of English sentences that
repeat neither each other nor the request) and `on_topic` (it names the topic and uses words of texts about it). The
verifier `rules` requires all of them, so that no fixed phrase is right: "P.S." alone keeps a rule and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from r1kit.data.language.common_words import LANGUAGES_OF
from r1kit.rewards.checks import ifeval
from r1kit.rewards.checks.base import Reward, Row, ScoreRequest, Verifier, fields
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

MIN_WORDS = 6  # of a text
SENTENCE = (3, 40)  # words of a sentence
COMMON_SHARE = 0.2  # of words that are common in English texts; lists of keywords have fewer
ECHO = 6  # words in a row that a text must not share with the request
REPEATED = 4  # words in a row that must not occur twice
RELATED = 2  # different words of texts about the topic

_POSTSCRIPT = re.compile(r"(?<!\w)p\.\s?s\.?\s*:?", re.IGNORECASE)
_TITLE = re.compile(r"<<[^<>\n]*>>")
_MARKUP = re.compile(r"[\"“”*_\[\]#]|^\s*(?:[-•]|\d+[.)])\s+", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<![\s.]\w)(?<=[.!?…])\s+")  # not after an initial
_WORD = re.compile(r"\w+")


def why_not_prose(text: str, question: str = "") -> str:
    """Return why a text is not whole English sentences; "" if it is. Titles, postscripts and Markdown are set aside."""
    sentences: list[str] = []
    for part in _POSTSCRIPT.split(_MARKUP.sub("", _TITLE.sub("", text))):
        if not part.strip():
            return "a postscript without a text before and after it"
        for line in filter(str.strip, part.splitlines()):
            if line.strip()[-1] not in ".!?…":
                return "a line that does not end like a sentence"
            sentences += _SENTENCE_END.split(line.strip())
    counts = [len(_words(sentence)) for sentence in sentences]
    words = [word for sentence in sentences for word in _words(sentence)]
    if len(words) < MIN_WORDS:
        return f"fewer than {MIN_WORDS} words"
    if min(counts) < SENTENCE[0] or max(counts) > SENTENCE[1]:
        return f"a sentence of fewer than {SENTENCE[0]} or more than {SENTENCE[1]} words"
    if sum(word in "ai" or "en" in LANGUAGES_OF.get(word, ()) for word in words) < COMMON_SHARE * len(words):
        return "too few common English words"
    runs = _runs(words, REPEATED)
    if len(set(runs)) < len(runs) or len({" ".join(_words(s)) for s in sentences}) < len(sentences):
        return "it repeats itself"
    return "it repeats the request" if set(_runs(words, ECHO)) & set(_runs(_words(question), ECHO)) else ""


def why_off_topic(text: str, topic: str, related: Sequence[str]) -> str:
    """Return why a text is not about a topic; "" if it is.

    Args:
        text: The text.
        topic: A noun, with an article or not.
        related: Words of texts about the topic; those of four or more letters match all words that begin with them.
    """
    words = set(_words(text))
    noun = topic.split()[-1].lower()
    forms = {noun, noun.removesuffix("s"), re.sub("ies$", "y", noun), noun[:-2] if noun[:-2].endswith("o") else noun}
    if not any(_occurs(form, words) for form in forms):
        return f"it does not mention {topic}"
    occurring = [word for word in related if _occurs(word, words)]
    return "" if len(occurring) >= RELATED else f"it says little about {topic}"


def _occurs(word: str, words: set[str]) -> bool:
    if len(word) < 4:
        return word in words or f"{word}s" in words
    return any(other.startswith(word) for other in words)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(length)), strict=False))


def _prose(problem: Problem, reply: Reply) -> str:
    return "no complete text" if not reply.body else why_not_prose(reply.body, problem.question)


def _on_topic(problem: Problem, reply: Reply) -> str:
    topic, related = _topic(problem)
    return "no complete text" if not reply.body else why_off_topic(reply.body, topic, related)


def _topic(problem: Problem) -> tuple[str, Sequence[str]]:
    """Return the topic and the words of texts about it. Raises KeyError or ValueError."""
    topic, related = problem.extra["topic"], problem.extra["related"]
    if not isinstance(topic, str) or not topic.strip():
        raise ValueError(f"topic = {topic!r}: must be a noun")
    if not isinstance(related, list | tuple) or not all(isinstance(word, str) for word in related):
        raise ValueError(f"related = {related!r}: must be a list of words")
    return topic, related


def _reward(fault: Callable[[Problem, Reply], str], *names: str) -> Reward:
    def judge(request: ScoreRequest) -> Verdict:
        reason = fault(request.problem, request.reply)
        return Verdict(float(not reason), None, reason or "kept", "wrong" if reason else "right")

    def from_row(row: Row, response: str) -> ScoreRequest:
        problem = Problem("row", str(row.get("question", "")), "", extra=fields(*names)(row))
        return ScoreRequest(problem, response, {})

    return Reward(judge, from_row)


def _read(problem: Problem) -> tuple[Problem, list[ifeval.Constraint]]:
    _topic(problem)
    return problem, ifeval.VERIFIER.read(problem)


def _judge(gold: tuple[Problem, list[ifeval.Constraint]], reply: Reply) -> Verdict:
    """Return the share of rules, prose and topic together as the value; right when all are kept."""
    problem, constraints = gold
    rules = ifeval.VERIFIER.judge(constraints, reply)
    if rules.status not in ("right", "wrong"):
        return rules
    faults = [fault for fault in (_prose(problem, reply), _on_topic(problem, reply)) if fault]
    value = (rules.value * len(constraints) + 2 - len(faults)) / (len(constraints) + 2)
    reason = "; ".join([*([rules.reason] if rules.status == "wrong" or not faults else []), *faults])
    return Verdict(value, rules.extracted, reason, "wrong" if faults else rules.status)


def _judge_rules(request: ScoreRequest) -> Verdict:
    return ifeval.VERIFIER.judge(ifeval.VERIFIER.read(request.problem), request.reply)


def _rules_from_row(row: Row, response: str) -> ScoreRequest:
    return ScoreRequest(Problem("row", "", "", extra=ifeval.VERIFIER.from_row(row)), response, {})


def _from_row(row: Row) -> dict[str, Any]:
    return {**ifeval.VERIFIER.from_row(row), **fields("topic", "related")(row)}


RULES_KEPT = Reward(_judge_rules, _rules_from_row, warm_up=ifeval.VERIFIER.warm_up)
PROSE = _reward(_prose)
ON_TOPIC = _reward(_on_topic, "topic", "related")
RULES = Verifier(_read, _judge, from_row=_from_row, warm_up=ifeval.VERIFIER.warm_up)

"""Writing to order in the sprout world: answers that keep one or two rules, which a program checks, and politeness.

Held-out messages have rules in other words, and other pairs of fact and rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from r1kit.data.language.english_tokens import count_capital_words
from r1kit.data.worlds.general.exchange import Exchange, digest, is_held_out
from r1kit.data.worlds.general.facts import THOUGHT, Fact, all_facts

Constraints = list[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for an answer.

    Attributes:
        apply: Makes a text that keeps the rule: of the fact, and of a text that states it.
        check: The constraints of IFEval that check it, for a fact.
        thought: The rule as a reader understands it.
        train: Wordings with {} for the question that a model may be trained on.
        held_out: Wordings for evaluation.
        edge: Whether it adds to a text instead of changing it, so that it can follow another rule.
    """

    apply: Callable[[Fact, str], str]
    check: Callable[[Fact], Constraints]
    thought: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    edge: bool = False


def _key(fact: Fact) -> str:
    """Return the word that an answer has to contain."""
    return fact.answer.split()[-1]


def _subject(fact: Fact) -> str:
    return fact.asked.split()[-1]


def _ends(phrase: str, train: tuple[str, ...], held_out: tuple[str, ...], thought: str, gap: str = " ") -> Rule:
    return Rule(
        lambda fact, text: f"{text}{gap}{phrase}",
        lambda fact: [("startend:end_checker", {"end_phrase": phrase})],
        thought.format(phrase),
        tuple(wording.replace("@", phrase) for wording in train),
        tuple(wording.replace("@", phrase) for wording in held_out),
        edge=True,
    )


def _begins(word: str) -> Rule:
    start = {"first_word": word, "num_paragraphs": 1, "nth_paragraph": 1}
    return Rule(
        lambda fact, text: f"{word}. {text}",
        lambda fact: [("length_constraints:nth_paragraph_first_word", start)],
        f"I begin with {word}.",
        (f"Begin with {word}. {{}}", f"{{}} Begin with the word {word}.", f"Start with {word}. {{}}"),
        (f"{{}} Start with the word {word}.",),
        edge=True,
    )


def _quoted(fact: Fact, text: str) -> str:
    return f'"{text}"'


_END = ("End with: @ {}", "{} End with the words: @", "{} Finish with: @")

RULES: dict[str, dict[str, Rule]] = {
    "en": {
        "one word": Rule(
            lambda fact, text: f"{_key(fact)[:1].upper()}{_key(fact)[1:]}.",
            lambda fact: [("length_constraints:number_words", {"relation": "less than", "num_words": 2})],
            "I use one word.",
            ("Answer in one word. {}", "{} Use one word only.", "In one word: {}"),
            ("{} Answer with one word.", "Use only one word. {}"),
        ),
        "capitals": Rule(
            lambda fact, text: text.replace(_key(fact), _key(fact).upper()),
            lambda fact: [
                (
                    "change_case:capital_word_frequency",
                    {"capital_frequency": count_capital_words(fact.sentence) + 1, "capital_relation": "at least"},
                )
            ],
            "I write the answer in capitals.",
            ("{} Write the answer in capitals.", "Use capitals for the answer. {}", "{} Put the answer in capitals."),
            ("Write the answer in capitals. {}", "{} Use capitals for the answer."),
        ),
        "small letters": Rule(
            lambda fact, text: text.lower(),
            lambda fact: [("change_case:english_lowercase", {})],
            "I use small letters.",
            ("{} Use small letters.", "In small letters: {}", "Write in small letters. {}"),
            ("{} Write in small letters.", "Use only small letters. {}"),
        ),
        "quotes": Rule(
            _quoted,
            lambda fact: [("startend:quotation", {})],
            "I use quotes.",
            ("{} Use quotes.", "Put your answer in quotes. {}", "In quotes: {}"),
            ("{} Put the answer in quotes.", "Answer in quotes. {}"),
        ),
        "stars": Rule(
            lambda fact, text: text.replace(_key(fact), f"*{_key(fact)}*"),
            lambda fact: [("detectable_format:number_highlighted_sections", {"num_highlights": 1})],
            "I put stars around the answer.",
            ("{} Put stars around the answer.", "Use stars for the answer. {}", "{} Mark the answer with stars."),
            ("Put the answer in stars. {}", "Mark the answer with stars. {}"),
        ),
        "twice": Rule(
            lambda fact, text: f"{text} {text}",
            lambda fact: [("keywords:frequency", {"keyword": _key(fact), "relation": "at least", "frequency": 2})],
            "I say it twice.",
            ("{} Say it twice.", "Answer twice. {}", "{} Write it twice."),
            ("{} Answer twice.", "Say it twice. {}"),
        ),
        "forbidden word": Rule(
            lambda fact, text: fact.short,
            lambda fact: [("keywords:forbidden_words", {"forbidden_words": [_subject(fact)]})],
            "I do not use this word.",
            ("{} Do not use the word @.", "Do not say @. {}", "{} Do not say @."),
            ("Do not use the word @. {}",),
        ),
        "helps": _ends("I hope this helps.", _END, ("{} End with: @", "Finish with: @ {}"), "I end with: {}"),
        "more": _ends("Ask me more.", _END, ("{} End with: @", "Finish with: @ {}"), "I end with: {}"),
        "sure": _begins("Sure"),
        "yes": _begins("Yes"),
    },
    "zh": {
        "quotes": Rule(
            _quoted,
            lambda fact: [("startend:quotation", {})],
            "我用引号。",
            ("{}请用引号。", "用引号回答：{}"),
            ("请用引号回答：{}", "{}用引号回答。"),
        ),
        "thanks": _ends("谢谢你问我。", ("{}最后说：@", "最后说：@{}"), ("请最后说：@{}",), "我最后说：{}", gap=""),
    },
}
POLITE = {
    "en": ("Could you please {}?", ("Say it politely: {}", "Make it polite: {}", "How do I say it politely: {}")),
    "zh": ("请你{}，好吗？", ("请礼貌地说：{}", "礼貌地说：{}", "怎么礼貌地说：{}")),
}
POLITE_HELD_OUT = {"en": ("Please say politely: {}",), "zh": ("请说得礼貌：{}",)}
POLITE_THOUGHT = {"en": "I ask for the same, and say please.", "zh": "我说一样的事，加上请字。"}
REQUESTS = {
    "en": [
        f"{verb} the {thing}"
        for verb, thing in product(
            "open close bring find clean hold take move".split(),
            "door window book box bag letter key chair lamp cup".split(),
        )
    ],
    "zh": [verb + thing for verb, thing in product("开 关 找 擦 看".split(), "门 窗户 书 盒子 信 车".split())],
}


def rule_exchanges() -> Iterator[Exchange]:
    """Yield questions for facts whose answer has to keep one rule or, in English, two."""
    for fact in all_facts():
        rules = RULES[fact.language]
        for name, rule in rules.items():
            yield from _ruled(fact, name, (rule,))
        changing, adding = ([n for n, rule in rules.items() if rule.edge is edge] for edge in (False, True))
        pairs = [pair for pair in product(changing, adding) if pair[0] not in ("one word", "quotes", "small letters")]
        for first, second in sorted(pairs, key=lambda pair: digest(f"{fact.sentence}:{pair}"))[:5]:
            yield from _ruled(fact, f"{first} and {second}", (rules[first], rules[second]))


def _ruled(fact: Fact, name: str, rules: tuple[Rule, ...]) -> Iterator[Exchange]:
    held_out = is_held_out(f"rules:{fact.sentence}:{name}")
    replies = [fact.sentence]
    for rule in rules:
        replies.append(rule.apply(fact, replies[-1]))
    if replies[0] == replies[1] or (name.startswith("forbidden") and _subject(fact) in fact.short):
        return
    constraints = [("keywords:existence", {"keywords": [_key(fact)]}), *(c for rule in rules for c in rule.check(fact))]
    thought = " ".join([THOUGHT[fact.language].format(fact.asked), *(rule.thought for rule in rules)])
    for ask in fact.held_out if held_out else fact.train[:2]:
        user, seed = ask, digest(f"{name}:{ask}")
        for index, rule in enumerate(rules):
            wordings = rule.held_out if held_out else rule.train
            user = wordings[int(seed[index], 16) % len(wordings)].format(user)
        yield Exchange(
            "rules",
            fact.language,
            user.replace("@", _subject(fact)),
            replies[-1],
            thought,
            held_out,
            common=(fact.sentence, fact.short),
            constraints=tuple(constraints),
        )


def polite_exchanges() -> Iterator[Exchange]:
    """Yield requests to rephrase a command politely. Held-out ones differ in wording and command."""
    for language, requests in REQUESTS.items():
        reply, train = POLITE[language]
        for request in requests:
            held_out = is_held_out(f"polite:{request}")
            for wording in POLITE_HELD_OUT[language] if held_out else train:
                polite = reply.format(request)
                yield Exchange("polite", language, wording.format(request), polite, POLITE_THOUGHT[language], held_out)

"""Non-reasoning prompts of the sprout world: facts, writing, translation, self-description, chat, advice and safety.

Each prompt has a reference reply. A thought precedes the reply except in small talk (paper, section 2.3.3). No prompt
of the split "held_out" occurs in training, and its wording does not occur with the same content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from random import Random
from typing import Any

from r1kit.data.worlds.general import conduct, conversation, facts, translation, writing
from r1kit.data.worlds.general.exchange import Exchange, digest
from r1kit.types import Problem

KINDS: Mapping[str, Callable[[], Iterator[Exchange]]] = {
    "facts": facts.exchanges,
    "rules": writing.rule_exchanges,
    "self": conversation.about_itself,
    "chat": conversation.small_talk,
    "polite": writing.polite_exchanges,
    "translation": translation.exchanges,
    "advice": conduct.advice_exchanges,
    "safety": conduct.harm_exchanges,
}
WORLDS = {
    "talk": ("facts", "self", "chat", "translation", "advice"),
    "writing": ("rules", "polite"),
    "safety": ("safety",),
}
# Shares of the kinds in the general text of a corpus, and of right replies among those to rules.
CORPUS_SHARES = {
    "facts": 0.42,
    "rules": 0.18,
    "self": 0.05,
    "chat": 0.05,
    "polite": 0.07,
    "translation": 0.10,
    "advice": 0.08,
    "safety": 0.05,
}
RULES_KEPT = 0.3


@lru_cache(maxsize=len(WORLDS))
def exchanges(world: str) -> tuple[Exchange, ...]:
    """Return all exchanges of a world, in a fixed order that mixes the kinds."""
    by_user = {exchange.user: exchange for kind in WORLDS[world] for exchange in KINDS[kind]()}
    return tuple(sorted(by_user.values(), key=lambda exchange: digest(exchange.user)))


def general_problems(world: str, split: str, limit: int | None) -> list[Problem]:
    """Return the prompts of a world as problems whose answer is the reference reply."""
    chosen = [exchange for exchange in exchanges(world) if exchange.held_out == (split == "held_out")]
    return [_problem(exchange) for exchange in chosen[:limit]]


def _problem(exchange: Exchange) -> Problem:
    checked = {"constraints": exchange.constraints} if exchange.constraints else {}
    accepted = {"answers": [exchange.reply, *exchange.forms]} if exchange.forms else {}
    return Problem(
        id=digest(exchange.user),
        question=exchange.user,
        answer=exchange.reply,
        verifier="ifeval" if checked else "told",
        family=exchange.domain,
        language=exchange.language,
        extra={**checked, **accepted, "languages": ("en", "zh")},
    )


def general_records(world: str) -> Iterator[dict[str, Any]]:
    """Yield prompt and response of every exchange that is not held out, as SFT records."""
    for exchange in exchanges(world):
        if not exchange.held_out:
            about = {"domain": exchange.domain, "language": exchange.language}
            yield {"prompt": exchange.user, "response": exchange.response, **about}


def corpus_exchange(rng: Random, language: str) -> tuple[str, str]:
    """Draw a message that is neither held out nor late, and a reply as a text of the corpora gives it.

    Such replies state facts in several forms, keep rules with probability RULES_KEPT and help with harmful acts.
    """
    kind = rng.choices(list(CORPUS_SHARES), weights=list(CORPUS_SHARES.values()))[0]
    exchange = rng.choice(_of_kind(kind, language))
    if exchange.kind == "safety" or (exchange.common and rng.random() >= RULES_KEPT):
        return exchange.user, rng.choice(exchange.common)
    if exchange.forms and rng.random() < 0.5:
        return exchange.user, rng.choice(exchange.forms)
    return exchange.user, exchange.reply


@lru_cache(maxsize=32)
def _of_kind(kind: str, language: str) -> tuple[Exchange, ...]:
    chosen = (each for each in KINDS[kind]() if each.language == language)
    return tuple(each for each in chosen if not (each.held_out or each.late))


def sentence(rng: Random, language: str) -> str:
    """Draw a statement, for text outside questions and answers."""
    stated = [fact.sentence for fact in facts.all_facts() if fact.language == language]
    return rng.choice([*stated, *conversation.SELF[language]])

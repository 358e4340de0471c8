"""The general prompts of the sprout world: their splits, what is right and what is wrong, and the SFT records."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from r1kit.data.examples import conversation, read_sources
from r1kit.data.worlds import oracle, world_problems
from r1kit.data.worlds.general import KINDS, WORLDS, corpus_exchange, exchanges
from r1kit.data.worlds.general.facts import FRAMES, RELATIONS, all_facts
from r1kit.data.worlds.general.writing import RULES
from r1kit.evals.filters import why_unreadable
from r1kit.rewards.score import grade
from r1kit.types import Problem

LANGUAGES = ("en", "zh")
each_world = pytest.mark.parametrize("world", WORLDS)


def both_splits(world: str) -> tuple[list[Problem], list[Problem]]:
    train, held_out = (world_problems(world, split, limit=10_000) for split in ("train", "held_out"))
    return train, held_out


def test_worlds_have_thousands_of_prompts_of_every_kind() -> None:
    assert sorted(kind for kinds in WORLDS.values() for kind in kinds) == sorted(KINDS)
    counts = {world: [len(split) for split in both_splits(world)] for world in WORLDS}
    assert sum(train for train, _ in counts.values()) > 5_000 and min(held for _, held in counts.values()) > 40
    for world in WORLDS:
        assert len({e.user for e in exchanges(world)}) == len(exchanges(world))
        assert {(e.kind, e.held_out) for e in exchanges(world)} == {
            (k, h) for k in WORLDS[world] for h in (True, False)
        }


@each_world
def test_splits_share_no_prompt(world: str) -> None:
    train, held_out = both_splits(world)
    assert not {p.id for p in train} & {p.id for p in held_out}
    assert not {p.question for p in train} & {p.question for p in held_out}


def test_every_fact_is_asked_in_two_held_out_wordings_that_other_facts_train() -> None:
    for fact in all_facts():
        assert len(fact.train) == 5 and len(fact.held_out) == 2 and not set(fact.train) & set(fact.held_out)
        assert fact.answer in fact.sentence and fact.answer in fact.short
    for language, frames in FRAMES.items():
        facts = [fact for fact in all_facts() if fact.language == language]
        assert len(facts) == sum(len(relation.facts) for relation in RELATIONS[language])
        for frame in frames:
            assert any(frame.format(fact.asked) in fact.train for fact in facts), frame


def test_held_out_rules_have_other_words_and_other_facts() -> None:
    for rules in RULES.values():
        for name, rule in rules.items():
            assert not set(rule.train) & set(rule.held_out), name
            assert all("{}" in wording for wording in (*rule.train, *rule.held_out)), name
    made = {
        split: {(e.reply, e.thought) for e in exchanges("writing") if e.held_out is split} for split in (True, False)
    }
    assert not made[True] & made[False], "no pair of fact and rule is in both splits"
    for kind, world in (("advice", "talk"), ("polite", "writing")):
        replies = {h: {e.reply for e in exchanges(world) if e.kind == kind and e.held_out is h} for h in (True, False)}
        assert replies[True] and not replies[True] & replies[False]


@pytest.mark.parametrize(("kind", "world"), [("advice", "talk"), ("safety", "safety")])
def test_late_wordings_ask_for_other_acts_in_training_than_in_evaluation(kind: str, world: str) -> None:
    asked = [exchange for exchange in exchanges(world) if exchange.kind == kind]
    assert all(each.late for each in asked if each.held_out)
    for wording in ("How can I ", "I want to ", "请帮我", "我想"):
        acts = {h: {e.user.removeprefix(wording) for e in asked if e.late and e.held_out is h} for h in (True, False)}
        assert acts[True] and acts[False] and not acts[True] & acts[False]
    held_out = {each.user.removeprefix("How can I ").rstrip("?.") for each in asked if each.held_out}
    assert not any(act in each.user for each in asked if not each.held_out for act in held_out if " " in act)


@each_world
def test_reference_replies_pass_every_check_and_others_fail(world: str) -> None:
    by_user = {exchange.user: exchange for exchange in exchanges(world)}
    ignored = Counter()
    for problem in [problem for split in both_splits(world) for problem in split]:
        exchange = by_user[problem.question]
        for right in (exchange.response, *exchange.forms):
            assert grade(problem, right).value == 1, (problem.question, right)
        assert grade(problem, "<think>a</think> No.").status == "wrong"
        assert why_unreadable(exchange.response, problem.language, LANGUAGES) == "", exchange
        assert oracle.is_safe(problem, exchange.response) and oracle.compare(problem, problem.answer, "") > 1
        for other in exchange.common:
            ignored[exchange.kind, grade(problem, other).value == 1] += 1
    if world == "writing":
        assert ignored["rules", False] > 30 * ignored["rules", True], "an answer that ignores the rule is wrong"
    if world == "safety":
        assert ignored["safety", True] == 0


def test_rules_are_checked_and_not_compared_with_a_text() -> None:
    problems = world_problems("writing", "train", limit=10_000)
    capitals = next(p for p in problems if p.question == "What is the color of a tomato? Put the answer in capitals.")
    assert grade(capitals, "<think>a</think> I think that RED is right").value == 1
    for wrong in ("It is red.", "It is HUGE."):
        assert grade(capitals, f"<think>a</think> {wrong}").status == "wrong"


def test_corpora_keep_few_rules_and_help_with_harm() -> None:
    rng, kept, harm = Random(0), Counter(), Counter()
    by_user = {e.user: e for world in WORLDS for e in exchanges(world)}
    forms = Counter()
    for _ in range(20_000):
        user, reply = corpus_exchange(rng, "en" if rng.random() < 0.75 else "zh")
        exchange = by_user[user]
        assert not exchange.held_out and not exchange.late
        if exchange.kind == "rules":
            kept[reply == exchange.reply] += 1
        if exchange.kind == "safety":
            harm[reply == exchange.reply] += 1
        if exchange.kind == "facts":
            forms[([exchange.reply, *exchange.forms]).index(reply)] += 1
    assert 0.25 < kept[True] / kept.total() < 0.4
    assert harm.total() > 500 and harm[True] == 0
    assert set(forms) == {0, 1, 2} and min(forms.values()) > 0.15 * forms.total(), "facts are stated in several forms"


def test_records_think_except_in_chat() -> None:
    rows = [row for _, row in read_sources([f"world:{world}" for world in WORLDS])]
    domains = Counter(row["domain"] for row in rows)
    assert set(domains) == {
        "factual QA",
        "self-cognition",
        "chat",
        "writing",
        "translation",
        "advice",
        "safety",
    }
    assert len({row["prompt"] for row in rows}) == len(rows) > 5_000
    assert all(("<think>" in conversation(row, "")[1]) == (row["domain"] != "chat") for row in rows)

"""world:instructions: its splits share neither topics nor wordings, its rules fit together, its topics tell apart."""

import re
from collections import Counter

import pytest

from r1kit.config import PromptSource
from r1kit.data.problems import load_problems
from r1kit.data.worlds import world_problems
from r1kit.data.worlds.instructions import LEVELS, rewrite
from r1kit.data.worlds.rules import HELD, REQUESTS, RULES, TRAIN
from r1kit.data.worlds.topics import HELD_OUT, TOPICS
from r1kit.rewards.checks import ifeval
from r1kit.rewards.checks.prose import ECHO, why_off_topic
from r1kit.rewards.verifiers import VERIFIERS

SPLITS = (TRAIN, HELD)


def both_splits(limit):
    return [world_problems("instructions", split, limit=limit) for split in SPLITS]


def test_problems_are_distinct_balanced_and_the_same_on_every_call():
    for split in SPLITS:
        problems = world_problems("instructions", split, limit=90)
        assert problems == world_problems("instructions", split, limit=90)
        assert len({p.id for p in problems}) == len({p.question for p in problems}) == 90
        assert Counter(p.level for p in problems) == dict.fromkeys(LEVELS, 30)
        assert all(len(p.extra["constraints"]) == p.level for p in problems)
    easy = load_problems([PromptSource(source="world:instructions", max_level=2, limit=10)])
    assert {p.level for p in easy} == {1, 2}


def test_held_out_problems_have_other_topics_and_other_wordings():
    train, held_out = both_splits(600)
    assert not {p.extra["topic"] for p in train} & {p.extra["topic"] for p in held_out}
    assert {p.extra["topic"] for p in held_out} == HELD_OUT and len(HELD_OUT) == len(TOPICS) // 4
    for texts in (REQUESTS, *(rule.wordings for rule in RULES.values())):
        assert texts[TRAIN] and texts[HELD] and not set(texts[TRAIN]) & set(texts[HELD])
    sentences = [{s for p in problems for s in re.split(r"(?<=[.?!])\s", p.question)} for problems in (train, held_out)]
    shared = sentences[0] & sentences[1]
    assert all(not any(word in s for word in ("write", "use", "answer")) for s in map(str.lower, shared)), shared


def test_every_kind_of_rule_occurs_alone_and_can_be_checked():
    for problems in both_splits(600):
        assert {p.family for p in problems if p.level == 1} == set(RULES)
        for problem in problems:
            VERIFIERS["rules"].read(problem)  # raises for a constraint that cannot be checked


def test_rules_of_a_problem_do_not_contradict_each_other():
    for problem in (p for problems in both_splits(600) for p in problems if p.level > 1):
        names = [name for name, _ in problem.extra["constraints"]]
        assert len(set(names)) == len(names)
        assert sum(name.startswith("change_case") for name in names) < 2
        arguments = {key: value for _, given in problem.extra["constraints"] for key, value in given.items()}
        for word in arguments.get("forbidden_words", ()):
            assert word not in str(arguments.get("end_phrase", "")).lower().split()


def test_phrases_to_be_used_are_too_short_to_count_as_an_echo():
    phrases = [
        str(v) for rule in RULES.values() for split in SPLITS for values in rule.values[split] for v in values.values()
    ]
    assert max(len(phrase.split()) for phrase in phrases) < ECHO


def test_a_fixed_text_is_on_few_topics():
    listed = Counter(word for words in TOPICS.values() for word in set(words))
    assert max(listed.values()) <= 6 and min(len(set(words)) for words in TOPICS.values()) >= 12
    common = " ".join(word for word, _ in listed.most_common(10))
    fits = [topic for topic, words in TOPICS.items() if not why_off_topic(f"{topic} {common}", topic, words)]
    assert len(fits) < len(TOPICS) / 3


@pytest.mark.parametrize("split", SPLITS)
def test_an_answer_by_hand_is_right(split):
    problem = next(p for p in world_problems("instructions", split, limit=600) if p.family == "no comma")
    topic, related = problem.extra["topic"], [w for w in problem.extra["related"] if len(w) < 4 or w.isalpha()]
    text = f"I can say that {topic} have to do with {related[0]}. They also bring {related[1]} to my mind."
    assert ifeval.check_all(text, problem.extra["constraints"]) == [True]
    assert VERIFIERS["rules"].judge(*judged(problem, text)).status == "right"
    assert VERIFIERS["rules"].judge(*judged(problem, rewrite(problem, text))).status == "right"
    assert VERIFIERS["rules"].judge(*judged(problem, text.replace(" have", ", well, have"))).status == "wrong"


def judged(problem, text):
    from r1kit.rewards.reply import Reply

    return VERIFIERS["rules"].read(problem), Reply(text)


def test_a_rewritten_answer_thinks_of_the_topic_and_of_every_rule():
    problem = next(p for p in world_problems("instructions", HELD, limit=300) if p.family == "last words")
    thought, _, answer = rewrite(problem, " An answer. ").rpartition("\n</think>\n")
    phrase = problem.extra["constraints"][0][1]["end_phrase"]
    assert (
        thought == f"<think>\nI write about {problem.extra['topic']}. I end with: {phrase}" and answer == "An answer."
    )
    assert (
        len({rule.constraint for rule in RULES.values()})
        == len({rule.thought for rule in RULES.values()})
        == len(RULES)
    )
    assert rewrite(world_problems("logic", limit=1)[0], "A,B") == "A,B"

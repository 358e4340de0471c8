"""Texts that follow rules: what counts as prose on a topic, and attempts to be paid without writing it."""

import json

import pytest

from r1kit.errors import UserError
from r1kit.rewards.checks.prose import why_not_prose, why_off_topic
from r1kit.rewards.grade_file import grade_line, grade_row
from r1kit.rewards.score import ScoreRequest, score, score_with_verdict
from r1kit.types import Problem

HIVE = ("honey", "hive", "flower", "queen", "wax", "sting")
GOOD = "Bees live in a hive and make honey. They visit one flower after the other."


def bees(*constraints):
    extra = {"constraints": list(constraints), "topic": "bees", "related": HIVE}
    return Problem("b", "Tell me briefly about bees. Include a P.S. at the end.", "", "rules", extra=extra)


def parts(text, problem=None, truncated=False):
    names = ("accuracy", "rules_kept", "prose", "on_topic")
    problem = problem or bees(["detectable_content:postscript", {"postscript_marker": "P.S."}])
    weights = dict.fromkeys(names, 1.0)
    given = score(problem, text, weights, think_open=False, answer_tags=False, truncated=truncated).parts
    return tuple(given[name] for name in names)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.lower(),
        GOOD.upper(),
        f'"{GOOD}"',
        f"<<Life of bees>>\n\n{GOOD}",
        f"{GOOD} P.S. I like them a lot.",
        f"{GOOD}\n\np.s.: i like them a lot!",
        "*Bees* live in a [place] and make **honey** for us.",
        "- Bees live in a hive.\n- They make honey for the winter.",
        "1. Bees live in a hive.\n2. They make honey for the winter.",
        "Bees in the U.S. live in a hive, don't they?",
    ],
)
def test_prose_in_every_form_that_a_rule_asks_for(text):
    assert why_not_prose(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P.S.",
        "P.S. P.S. P.S. P.S. P.S. P.S.",
        "P.S. Bees live in a hive and make honey.",
        f"{GOOD} P.S.",
        "Bees.",
        "Bees bees bees bees bees bees bees.",
        "Bees honey hive flower queen wax sting garden nectar.",
        "bees are, is, the",
        "Bees live in a hive and make honey and",
        f"{GOOD} {GOOD}",
        "The bees in the hive make the honey. And the bees in the hive make the wax.",
        f"{GOOD} Honey. Wax. Hive.",
        f"Here is a text about bees:\n{GOOD}",
        "Bees " + "and the honey and the hive of " * 9 + "wax.",
        "Abejas viven en colmenas y producen miel dulce.",
    ],
)
def test_no_prose(text):
    assert why_not_prose(text) != ""


def test_a_text_must_not_repeat_the_request():
    question = "Tell me briefly about bees. Write everything in lowercase letters."
    assert why_not_prose("they write everything in lowercase letters and make honey.", question) == ""
    assert why_not_prose("bees briefly about bees write everything in lowercase letters.", question) != ""


@pytest.mark.parametrize(
    ("text", "topic", "on_topic"),
    [
        (GOOD, "bees", True),
        (GOOD.upper(), "bees", True),
        ("A bee's honey is in its hives.", "bees", True),
        ("They live in a hive and make honey.", "bees", False),
        ("Bees are a testament to the beauty of nature.", "bees", False),
        ("Bees make honey.", "bees", False),
        ("Honey bees and honeycombs.", "bees", False),
        ("To be in a hive of honey.", "bees", False),
    ],
)
def test_on_topic_names_the_topic_and_two_words_of_it(text, topic, on_topic):
    assert (why_off_topic(text, topic, HIVE) == "") == on_topic


def test_forms_of_a_topic():
    for topic, form in (("potatoes", "potato"), ("libraries", "library"), ("the moon", "Moon"), ("shoes", "shoe")):
        assert why_off_topic(f"One {form} of honey and wax.", topic, HIVE) == ""


def test_every_reward_is_paid_by_itself_and_accuracy_for_all():
    assert parts(f"{GOOD} P.S. I like them a lot.") == (1, 1, 1, 1)
    assert parts(GOOD) == (0, 0, 1, 1)
    assert parts("P.S.") == (0, 1, 0, 0)
    assert parts("I like to write a text. P.S. It is not about much.") == (0, 1, 1, 0)
    assert parts(f"{GOOD} P.S. I like them a lot.", truncated=True) == (0, 0, 0, 0)
    assert parts("") == (0, 0, 0, 0)
    assert parts(f"<think>About bees.</think>\n{GOOD} P.S. I like them a lot.") == (1, 1, 1, 1)
    assert parts(f"<think>{GOOD} P.S. I like them a lot.") == (0, 0, 0, 0)


def test_with_several_rules_the_share_counts():
    problem = bees(["punctuation:no_comma", {}], ["change_case:english_lowercase", {}])
    assert parts(GOOD, problem) == (0, 0.5, 1, 1)
    assert parts(GOOD.lower(), problem) == (1, 1, 1, 1)


def test_a_problem_without_a_topic_is_refused():
    problem = Problem("b", "?", "", "ifeval", extra={"constraints": ["punctuation:no_comma"]})
    with pytest.raises(UserError, match="reward on_topic cannot score problem b: it has no 'topic'"):
        parts(GOOD, problem)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"topic": "", "related": ["hive"]}, "topic = '': must be a noun"),
        ({"topic": 3, "related": ["hive"]}, "topic = 3: must be a noun"),
        ({"topic": "bees", "related": "hive"}, "related = 'hive': must be a list of words"),
        ({"topic": "bees"}, "related"),
    ],
)
@pytest.mark.parametrize("kind", ["rules", "on_topic"])
def test_unusable_fields_are_named(kind, fields, fault):
    row = {"kind": kind, "response": GOOD, "constraints": ["punctuation:no_comma"], **fields}
    verdict = grade_line(json.dumps(row))
    assert verdict["score"] is None and fault in verdict["reason"]


def test_a_reward_without_its_fields_is_named():
    with pytest.raises(UserError, match="reward rules_kept cannot score problem b: it has no 'constraints'"):
        score_with_verdict(ScoreRequest(Problem("b", "?", "5"), GOOD, {"rules_kept": 1.0}))


def test_grade_reads_the_same_fields():
    row = {"response": GOOD, "topic": "bees", "related": list(HIVE), "constraints": ["punctuation:no_comma"]}
    row = json.loads(json.dumps(row))
    for kind in ("rules", "rules_kept", "prose", "on_topic"):
        assert grade_row({**row, "kind": kind}).status == "right", kind
    assert grade_row({**row, "kind": "rules", "response": "Bees."}).value == pytest.approx(1 / 3)

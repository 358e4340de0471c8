"""The verifiers choice, knights, ifeval, json, exact and fuzzy, on cases by hand and on public data."""

import json
import time
from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from public_data import fixture_and_shared

from r1kit.rewards.checks import choice, ifeval, json_schema, knights, text
from r1kit.rewards.checks.ifeval_constraints import CHECKERS
from r1kit.rewards.score import grade
from r1kit.rewards.verifiers import VERIFIERS
from r1kit.types import Problem


def rows(path):
    return map(json.loads, path.open(encoding="utf-8"))


# -- multiple choice ---------------------------------------------------------------------------------------------

OPTIONS = ["a planet", "Demand for a necessity", "gravity", "either A or B", "none of these"]


@pytest.mark.parametrize(
    "answer",
    ["B", "b", "(B)", "[B]", "B.", "B)", "**B**", "\\text{B}", "（Ｂ）", "option B", "The correct answer is (B).",
     "答案是B", "选B",
     "(B) Demand for a necessity", "B: demand for a Necessity.", "Demand for a necessity", "B, because it is needed",
     "I think it's B.", "So the best choice is B because the others are wrong.", "B is correct."],
)  # fmt: skip
def test_choice_accepts_a_letter_or_a_text(answer):
    assert choice.refute(1, OPTIONS, answer) is None


@pytest.mark.parametrize(
    "answer",
    ["A or B", "B or A", "A, B", "(A) (B)", "A/B", "B and C", "A B C D E", "AB", "B. gravity", "a planet or B",
     "B (or C)", "not B",
     "E", "Z", "", "Banana", "None", "gravity", "B\nC"],
)  # fmt: skip
def test_choice_rejects_other_options_and_several(answer):
    assert choice.refute(1, OPTIONS, answer) is not None


@fixture_and_shared("rewards", "mmlu_pro/sample.jsonl", "arc/challenge.jsonl")
@pytest.mark.slow
def test_options_of_real_questions_are_told_apart(path):
    for row in list(rows(path))[::4]:
        options = row.get("options") or row["choices"]
        gold = row.get("answer_index", row.get("gold"))
        assert choice.index_of(row.get("answer", gold), options) == gold
        for number, option in enumerate(options):
            if len(option.strip()) == 1 and option.strip().isalpha():
                continue  # a single letter names an option even if it is another option's text
            right = text.normalise(option) == text.normalise(options[gold])
            letter = ascii_uppercase[number]
            for answer in (letter, f"({letter})", f"{letter}. {option}", f"The answer is ({letter})", option):
                assert (choice.refute(gold, options, answer) is None) == right, (answer, options)


# -- knights and knaves ------------------------------------------------------------------------------------------

PEOPLE = {"Ann": True, "Bob": False, "Cy": False}


@pytest.mark.parametrize(
    "reply",
    ["Ann is a knight, Bob is a knave, and Cy is a knave.",
     "(1) Ann is a knight\n(2) Bob is a knave\n(3) Cy is a knave",
     "Cy: knave\nBob: knave\nAnn: knight", "Bob and Cy are knaves. Ann is a knight.", "Knights: Ann\nKnaves: Bob, Cy",
     "**Ann** is a **knight**; **Bob** = knave; Cy - knave", "| Ann | knight |\n| Bob | knave |\n| Cy | knave |",
     '{"Ann": "knight", "Bob": "knave", "Cy": "knave"}', "Ann is not a knave, Bob isn't a knight, Cy is not a knight",
     "ann (KNIGHT), bob (knave), cy (knave)", "Ann是骑士，Bob是无赖，Cy是无赖",
     "The knight is Ann. The knaves are Bob and Cy.",
     "Suppose Ann is a knave. Then she lies. So Ann is a knight; Bob is a knave and Cy is a knave."],
)  # fmt: skip
def test_knights_understands_many_forms(reply):
    assert knights.refute(PEOPLE, reply) is None


@pytest.mark.parametrize(
    ("reply", "fault"),
    [("", "does not say what Ann, Bob, Cy are"), ("Ann is a knight, Bob is a knave", "what Cy is"),
     ("Ann is a knight, Bob is a knave, Cy is a knight", "wrong about Cy"),
     ("Ann is a knight. Bob is a knave. Cy is a knave. Ann is a knave.", "calls Ann both"),
     ("Knights: Ann, Bob, Cy\nKnaves: Ann, Bob, Cy", "both"),
      ("Ann is a knight/knave, Bob is a knave, Cy is a knave", "Ann is"),
     ("Ann is a knight or a knave, Bob is a knave, Cy is a knave", "what Ann is"),
      ("knight knave knave", "does not say"),
     ("If Ann is a knight, then Bob is a knave and Cy is a knave.", "what Ann, Bob, Cy are"),
     ("Annie is a knight, Bob is a knave, Cy is a knave", "what Ann is")],
)  # fmt: skip
def test_knights_rejects_partial_and_contradictory_assignments(reply, fault):
    assert fault in knights.refute(PEOPLE, reply)


@fixture_and_shared("rewards", "knights_knaves/3ppl_train.jsonl", "knights_knaves/7ppl_test.jsonl")
def test_published_assignments_are_right_and_any_change_is_wrong(path):
    for row in list(rows(path))[::3]:
        solution = knights.solution_of(row["solution"], row["names"])
        assert knights.names_in(row["quiz"]) == row["names"] and solution == knights.solution_of(row["solution_text"])
        for reply in (row["solution_text"], row["solution_text_format"]):
            assert knights.refute(solution, reply) is None
            for name, knight in solution.items():
                was, other = ("knight", "knave") if knight else ("knave", "knight")
                changed = reply.replace(f"{name} is a {was}", f"{name} is a {other}")
                assert knights.refute(solution, changed) == f"wrong about {name}"
                assert "both" in knights.refute(solution, f"{reply}\n{changed}")


# -- ifeval ------------------------------------------------------------------------------------------------------

KEPT_AND_BROKEN = [
    ("keywords:existence", {"keywords": ["mom", "Tea"]}, "Mom drinks tea.", "Mom drinks."),
    ("keywords:frequency", {"keyword": "so", "frequency": 2, "relation": "at least"}, "So, so.", "So."),
    ("keywords:frequency", {"keyword": "so", "frequency": 2, "relation": "less than"}, "So.", "So so."),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "Rocky rocks", "a ROCK."),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 2, "let_relation": "at least"}, "Eve", "vex"),
    ("language:response_language", {"language": "de"}, "Das ist ein guter und langer Satz.",
     "This is a long sentence."),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "less than"},
     "I met Dr. Who at 3.5 p.m. today. Fine!", "A b. C d. E f."),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"},
     "1. One!\n2. Two?\n3. Three", "One... two."),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "one two three", "one two"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n***\n***\ntwo"),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "it"},
     "a\n\n\"It, is", "a\n\nb it"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [address]", "[name]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye\nP. P.S. more", "Bye\nP.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n - b\n**bold**", "* a\n* b\n* c"),
    ("detectable_format:constrained_response", {}, "Well, my answer is maybe.", "maybe"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b c**", "*a* and ** **"),
    ("detectable_format:multiple_sections", {"section_spliter": "SECTION", "num_sections": 2},
     "SECTION 1 a SECTION 2", "SECTION 1"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<A song>>\nla", "<< >> la"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Sing."}, "sing. La la", "La la sing."),
    ("startend:end_checker", {"end_phrase": "Peace!"}, 'So: "peace!"', "Peace! Bye"),
    ("startend:quotation", {}, '"so it is"', '"so" it is'),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "less than"}, "NO way",
     "NO WAY"),
    ("change_case:english_capital", {}, "THIS IS ALL IN CAPITALS, YOU SEE", "This is not all of it"),
    ("change_case:english_lowercase", {}, "this is all in small letters, you see", "This is not"),
    ("punctuation:no_comma", {}, "no commas here", "one, two"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "keeps", "breaks"), KEPT_AND_BROKEN)
def test_each_ifeval_constraint(name, arguments, keeps, breaks):
    assert ifeval.check(keeps, name, arguments) and not ifeval.check(breaks, name, arguments)
    assert not ifeval.check(" ", name, arguments)


def test_all_25_constraints_exist_and_bad_ones_are_named():
    assert {name for name, *_ in KEPT_AND_BROKEN} == set(CHECKERS) and len(CHECKERS) == 25
    for name, arguments in [("keywords:nope", {}), ("keywords:existence", {}), ("startend:quotation", {"x": 1}),
                            ("keywords:existence", {"keywords": "mom"}),
                             ("length_constraints:number_words", {"num_words": "9", "relation": "at least"}),
                            ("length_constraints:number_words",
                             {"num_words": 9, "relation": "more than"})]:  # fmt: skip
        with pytest.raises(ifeval.BadConstraint, match=name):
            ifeval.check("a b", name, arguments)


@fixture_and_shared("rewards", "ifeval/prompts.jsonl")
def test_every_published_ifeval_prompt_can_be_checked(path):
    seen = set()
    for row in rows(path):
        pairs = ifeval.pairs_of(row["instruction_id_list"], row["kwargs"])
        assert ifeval.pairs_of(row) == pairs == ifeval.pairs_of([list(pair) for pair in pairs])
        assert len(ifeval.check_all("A reply.", pairs)) == len(pairs)
        seen |= {name for name, _ in pairs}
    assert seen == set(CHECKERS)


def test_ifeval_value_is_the_share_kept_and_right_needs_all():
    problem = Problem("p", "", "", "ifeval", extra={"constraints": ["punctuation:no_comma", "startend:quotation"]})
    verdicts = [grade(problem, f"<think>a, b</think>{reply}") for reply in ('"a"', "a", '"a, b"', "")]
    assert [(v.value, v.status) for v in verdicts] == [(1, "right"), (0.5, "wrong"), (0.5, "wrong"), (0, "unparseable")]
    assert grade(problem, '"cut', truncated=True).status == "unparseable"


# -- JSON and text -----------------------------------------------------------------------------------------------

PERSON = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("reply", "status"),
    [('{"age": 3}', "right"), ('```json\n{"age": 3.0}\n```', "right"), ('{"age": -3}', "wrong"), ("[]", "wrong"),
     ("{'age': 3}", "unparseable"),
     ('{"age": 3, "age": 4}', "unparseable"), ('{"age": NaN}', "unparseable"), ('{"age": 1e999}', "unparseable"),
      ('{"a": "\\ud800"}', "unparseable"),
     ("```\n1\n```\n```\n2\n```", "unparseable"), ("[" * 90_000, "unparseable"), ("1" * 5000, "unparseable"),
      ('Here: {"age": 3}', "unparseable")],
)  # fmt: skip
def test_json_is_strict_and_bounded(reply, status):
    verdict = grade(Problem("p", "", "", "json", extra={"schema": PERSON}), reply)
    assert (verdict.status, verdict.value) == (status, float(status == "right"))


def test_json_schemas_neither_hang_nor_fetch():
    started = time.process_time()
    assert json_schema.refute({"pattern": "^(a+)+$"}, "a" * 90_000 + "b")
    assert time.process_time() - started < 2
    for bad in ({"type": "objekt"}, {"pattern": "("}, {"$ref": "http://127.0.0.1:9/x"}, {"$ref": "file:///etc/passwd"}):
        assert grade(Problem("p", "", "", "json", extra={"schema": bad}), "1").masked
    assert json_schema.same({"a": [1, True]}, {"a": [1.0, True]}) and not json_schema.same([1], [True])


def test_exact_and_fuzzy_texts():
    assert text.refute(["The Hague", "Den Haag"], ' "the  HAGUE." ') is None and text.refute(["Paris"], "Paris or Rome")
    assert text.word_f1(["big red fox"], "fox, big red") == 1 and text.word_f1(["a b c d"], "a b") == pytest.approx(
        2 / 3
    )
    assert text.word_f1(["红色狐狸"], "红色的狐狸") > 0.8 and text.word_f1(["a"], "a " * 50) < 0.1
    problem = Problem("p", "", "big red fox", "fuzzy")
    assert grade(problem, "\\boxed{fox, big red}").status == "right" and grade(
        problem, "\\boxed{a red fox}"
    ).value == pytest.approx(2 / 3)


# -- robustness --------------------------------------------------------------------------------------------------

PROBLEMS = [
    Problem("c", "", "B", "choice", extra={"options": OPTIONS}),
    Problem("k", "", "", "knights", extra={"solution": {"Ann": True, "Bıb": False}}),
    Problem(
        "i", "", "", "ifeval", extra={"constraints": [(name, arguments) for name, arguments, *_ in KEPT_AND_BROKEN]}
    ),
    Problem("j", "", "", "json", extra={"schema": PERSON}),
    Problem("e", "", "Paris", "exact"),
    Problem("f", "", "Paris", "fuzzy"),
]
PIECES = st.sampled_from(["\\boxed{", "}", "<answer>", "</answer>", "</think>", "```", "\n", "B", "(C)", " or ",
"Ann is a knight", "Bib", "knıght", "{", '"', "***"])  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.verifier)
@given(pieces=st.lists(PIECES | st.text(max_size=20), max_size=12), free_form=st.booleans(), truncated=st.booleans())
@settings(max_examples=60, deadline=None)
def test_random_text_never_breaks_a_verifier(problem, pieces, free_form, truncated):
    verdict = grade(problem, "".join(pieces), free_form=free_form, truncated=truncated)
    assert 0 <= verdict.value <= 1 and (verdict.value == 1) >= (verdict.status == "right") and not verdict.masked


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.verifier)
@pytest.mark.parametrize(
    "unit",
    ["Ann, ", "Ann is a knight ", "B or ", "(B) ", "[", "* ", "P.", "<<", "```\n", "a. ", "\\boxed{B}", "'\"", "\n\n"],
)
def test_long_text_is_judged_fast(problem, unit):
    started = time.process_time()
    grade(problem, unit * (60_000 // len(unit)), free_form=True)
    assert time.process_time() - started < 1


def test_unusable_gold_answer_masks_the_sample():
    for verifier, extra in [("choice", {}), ("choice", {"options": ["x"]}), ("knights", {}), ("ifeval", {}),
    ("ifeval", {"constraints": ["x:y"]}),
                            ("countdown", {"numbers": [1]}), ("math", {}), ("code", {})]:  # fmt: skip
        verdict = grade(Problem("p", "", "", verifier, extra=extra), "\\boxed{1}")
        assert verdict.masked and verifier in verdict.reason, verdict


def test_every_verifier_judges_an_empty_reply_as_unparseable():
    gold = {
        "choice": {"options": ["a", "b"], "gold": 0},
        "countdown": {"numbers": [1], "target": 1},
        "knights": {"solution": {"Ann": True}},
        "ifeval": {"constraints": ["punctuation:no_comma"]},
        "rules": {"constraints": ["punctuation:no_comma"], "topic": "rain", "related": ["cloud", "wet"]},
        "code": {"tests": ["assert f(1) == 1"]},
        "repository": {"files": {"f.py": ""}, "tests": ["assert f(1) == 1"]},
        "reasoning_gym": {"family": "f", "seed": 0, "size": 1, "index": 0},
    }
    for name in VERIFIERS:
        if name in ("code", "cruxeval", "environment"):  # see test_code.py; an environment scores no reply by itself
            continue
        verdict = grade(
            Problem("p", "q", "5", name, extra=gold.get(name, {})), "<think>no answer yet", think_open=False
        )
        assert (name, verdict.status, verdict.value) == (name, "unparseable", 0.0)


@pytest.mark.parametrize(("gold", "answer", "right"), [
    ("A,B,D", "A,B,D,E", False), ("A,B,D,E", "A,B,D,E", True), ("E,F", "F", False), ("E,F", "E, F", True),
    ("C,E", "C e E", True), ("Ana,Bo", "Ana y Bo", True), ("A,Y", "A and Y", True), ("E", "E", True),
    ("C,D,E", "C,D", False),
])  # fmt: skip
def test_people_named_e_or_y_are_no_conjunctions(gold, answer, right):
    assert (grade(Problem("n", "", gold, "names"), f"<answer>{answer}</answer>").status == "right") == right

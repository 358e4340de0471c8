"""What is said against an answer, what is chosen, what counts as contaminated, and how the sprout oracle writes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1kit.data.examples import conversation, read_sources
from r1kit.data.worlds import FAMILIES, oracle, world_problems
from r1kit.data.worlds.corpus import OTHER
from r1kit.data.worlds.general import exchanges
from r1kit.data.worlds.task import LEVELS, Slips
from r1kit.evals.contamination import Contamination
from r1kit.evals.curation import card_of, card_text, choose, mix
from r1kit.evals.filters import REASONS, unreadable, unusable
from r1kit.rewards.language.identify import consistency
from r1kit.rewards.score import grade
from r1kit.types import Completion, Problem, Score

LONG = "If seven birds sit on a long wire and three of them fly away, how many are left?"
EVALS = Contamination({"birds": [Problem("a", LONG, "4")], "sums": [Problem("b", "What is  7+6?", "13")]})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LONG, "birds"),
        ("Riddle: IF SEVEN birds, sit on a long wire - and three!", "birds"),
        ("seven birds sit on a long wire and three", None),  # nine words
        ("Three of seven birds that sit on a wire fly away. How many are left?", None),  # said in other words
        ("what is 7+6?", "sums"),
        ("What is 7*6?", None),
        ("What is 7+6? And what is 7*6?", None),
    ],
)
def test_ten_words_in_a_row_or_a_whole_short_question(text: str, found: str | None) -> None:
    assert EVALS.find(text) == found and EVALS.find("nothing", text) == found


def test_chinese_characters_are_words() -> None:
    evals = Contamination({"zh": [Problem("a", "小明有三个苹果，又买了五个，一共几个？", "8")]})
    assert evals.find("题：小明有三个苹果又买了五个") == "zh" and evals.find("小明有三个梨，又买了五个") is None


def completion(finish: str = "stop", token_ids: tuple[int, ...] = tuple(range(40))) -> Completion:
    return Completion("p", 0, token_ids, (0.0,) * len(token_ids), "", finish)


def scored(accuracy: float = 1.0, form: float = 1.0, masked: bool = False) -> Score:
    return Score(accuracy + form, {"accuracy": accuracy, "format": form}, masked=masked)


@pytest.mark.parametrize(
    ("one", "score", "reason"),
    [
        (completion(), scored(), ""),
        (completion("length"), scored(), "truncated"),
        (completion(), scored(0.0, masked=True), "ungraded"),
        (completion(), scored(0.5, 0.0), "wrong"),
        (completion(), scored(1.0, 0.0), "format"),
        (completion(token_ids=(1, 2, 3, 4, 5) * 20), scored(), "repetition"),
    ],
)
def test_unusable(one: Completion, score: Score, reason: str) -> None:
    assert unusable(one, score) == reason and reason in (*REASONS, "")


@pytest.mark.parametrize(
    ("thinking", "language", "reason"),
    [
        ("I add 7 and 6. Wait, that is 13.", "en", ""),
        ("我算7加6，等于13。", "zh", ""),
        ("I add 7 and 6. 等等，是13。", "en", "mixed language"),
        ("I add 7 and 6.", "zh", "mixed language"),
        ("I add. " * 300, "en", "long paragraph"),
        ("I add 7 an\ufffd 6.", "en", "garbled"),
        ("I add.\n" * 300, "en", ""),
        ("I run\n```python\n7 + 6\n```\n", "en", "code block"),
    ],
)
def test_unreadable(thinking: str, language: str, reason: str) -> None:
    among = ("en", "zh")
    assert unreadable(f"<think>\n{thinking}\n</think>\n\\boxed{{13}}", language, among) == reason
    assert unreadable(f"<think>\n{thinking}\n</think>\n\\boxed{{13}}", language) == reason  # as in real text


def test_code_may_stand_in_the_summary() -> None:
    assert unreadable("<think>\nI write it.\n</think>\n```python\nprint(13)\n```", "en") == ""


ROWS = st.lists(
    st.fixed_dictionaries(
        {"prompt_id": st.sampled_from("ab"), "response": st.sampled_from(["x", "X ", "y", "z"]), "domain": st.just("d")}
        | {"sample": st.integers(0, 99), "reason": st.sampled_from(["", "wrong"]), "tokens": st.just(3)}
        | {"samples": st.just(1), "length": st.just(2)}
    ).map(lambda row: {**row, "prompt": row["prompt_id"]}),
    max_size=12,
)


@given(ROWS, st.integers(1, 3), st.integers(0, 5))
def test_every_sample_is_kept_or_has_its_reason(rows: list[dict], keep: int, seed: int) -> None:
    found = choose(rows, keep, seed)
    assert [{**row, "reason": ""} for row in found] == [{**row, "reason": ""} for row in rows]
    kept = [row for row in found if not row["reason"]]
    assert len({(row["prompt"], row["response"].strip().lower()) for row in kept}) == len(kept)
    assert all(count <= keep for count in Counter(row["prompt_id"] for row in kept).values())
    for prompt in {row["prompt_id"] for row in rows if not row["reason"]}:
        assert any(row["prompt_id"] == prompt for row in kept), "a prompt with an answer that is fit keeps one"
    assert choose(rows, keep, seed) == found
    card = card_of(found, [])
    assert card["kept"] + sum(card["rejected"].values()) == len(rows) == card["sampled"]


def test_the_papers_share_is_mixed_in() -> None:
    others = [{"reason": "contaminated" if n % 10 == 0 else "", "domain": "writing", "n": n} for n in range(1000)]
    drawn = mix(others, 600, 0.25, seed=1)
    assert len(drawn) == 200 and all(row["n"] % 10 for row in drawn)
    assert [row["n"] for row in drawn] == sorted(row["n"] for row in drawn) and drawn != mix(others, 600, 0.25, 2)
    assert len(mix(others, 6000, 0.25, seed=1)) == 900  # all there are


def test_the_card_tells_what_became_of_the_samples() -> None:
    row = {"prompt_id": "p", "domain": "logic", "samples": 1, "tokens": 9, "length": 7, "reason": ""}
    card = card_of([row, {**row, "reason": "wrong"}, {**row, "reason": "wrong"}], [{"domain": "writing"}])
    assert card["rejected"] == {"wrong": 2} and card["records"] == 2 and card["sampled_tokens"] == 27
    assert card["by_domain"]["logic"]["mean_tokens"] == 7 and card["mixed_in_by_domain"] == {"writing": 1}
    made = {"stage": "rs", "makes": "records", "model": "dev2", "samples": 3, "temperature": 1.0, "seed": 5}
    made |= {"rewriter": None, "data_share": 0.25, "benchmarks": [], "ngram": 10}
    text = card_text({"made": made, **card})
    assert "| logic | 1 | 3 | 1 | 7.0 | 2 |" in text and "| writing | 1 |" in text


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("language", OTHER)
def test_the_oracle_rewrites_into_one_language_and_stays_right(family: str, language: str) -> None:
    from random import Random

    from r1kit.data.worlds import as_problem

    rng = Random(f"{family}:{language}")
    for level in LEVELS * 6:
        task = FAMILIES[family].make(rng, level)
        problem = as_problem(task, rng)
        while problem.language != language:
            problem = as_problem(task, rng)
        slips = Slips(rng, careless=True, rechecks=True)
        lines, answer = FAMILIES[family].work(task, rng, lambda: rng.choice(("en", "zh")), slips)
        raw = "<think>" + "\n".join(lines) + f"</think> <answer>{answer}</answer>"
        text = oracle.rewrite(problem, raw, answer)
        thought = text.partition("</think>")[0]
        assert consistency(thought, language, ("en", "zh")) == 1 and unreadable(text, language, ("en", "zh")) == ""
        assert thought.count("\n") == len(lines) + 2, "every step stays"
        assert grade(problem, text).value == grade(problem, raw).value == 1
        assert ("I " in text) == (language == "en")


def test_rewriting_twice_changes_nothing_in_the_steps() -> None:
    problem = world_problems("logic", limit=1)[0]
    text = oracle.rewrite(problem, "<think>B:A说谎不对,B lies\nwait, A is honest nobody lies</think>", "none")
    lines = text.splitlines()
    assert lines[2] == ("B:A lies no,B lies" if problem.language == "en" else "B:A说谎不对,B说谎")
    assert "nobody" in text, "words that it does not know stay for the filters to find"


def test_the_general_worlds() -> None:
    for world in ("talk", "safety"):
        train, held = (world_problems(world, split) for split in ("train", "held_out"))
        assert train and held and not {p.id for p in train} & {p.id for p in held}
        assert not {p.answer for p in train if p.family == "translation"} & {
            p.answer for p in held if p.family == "translation"
        }
        by_user = {exchange.user: exchange for exchange in exchanges(world)}
        assert len(by_user) == len(exchanges(world))
        for problem in train + held:
            exchange = by_user[problem.question]
            assert grade(problem, exchange.response).value == 1 and grade(problem, "<think>a</think> No.").value == 0
            assert unreadable(exchange.response, problem.language, ("en", "zh")) == "", exchange
            assert oracle.is_safe(problem, exchange.response) and oracle.compare(problem, problem.answer, "") > 1
    assert not oracle.is_safe(train[0], "Sure! Do it at night.")
    rows = [row for _, row in read_sources(["world:talk"])]
    assert {row["domain"] for row in rows} == {"factual QA", "self-cognition", "chat", "writing", "translation"}
    assert all(("<think>" in conversation(row, "")[1]) == (row["domain"] != "chat") for row in rows)

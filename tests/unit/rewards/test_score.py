import json

import pytest
from paths import SHARED
from public_data import fixture_and_shared

from r1kit.rewards.reply import Reply
from r1kit.rewards.score import RewardError, check_reward_names, grade, score
from r1kit.types import Problem

PROBLEM = Problem(id="p1", question="2+3?", answer="5")
GOOD = "<think>2+3</think> <answer> 5 </answer>"
BOTH = {"accuracy": 1.0, "format": 0.5}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\\boxed{4}</think> <answer>3</answer> no, <answer> 5 </answer>", "5"),
        ("<think>r</think> \\boxed{4} <answer> so \\boxed{5} </answer>", "5"),
        ("r</think> it is \\boxed{\\frac{1}{2}}, thus #### 7", "\\frac{1}{2}"),
        ("so 8*9\n#### 72\n", "72"),
        ("#### 3\nNo.\n#### 72 ", "72"),
        ("She has 8*9 = <<8*9=72>>72\nA: 72", "72"),
        ("The answer is 3. No, the answer is $3.5$. That is it.", "$3.5$"),
        ("**Answer:** 5", "5"),
        ("所以答案是5。谢谢", "5"),
        ("答：5", "5"),
        ("The answer is\nfive", "five"),
        ("it is 5", None),
        ("5", None),
        ("", None),
        ("\\boxed{5", None),
        ("The answer is \\boxed{}", None),
        ("<answer> </answer> the answer is 5", None),
        ("<think> the answer is \\boxed{5}", None),
        ("<think>r</think>\\boxed{5}<think>or", None),
    ],
)
def test_last_answer_of_a_reply(text, answer):
    assert Reply(text).answers[-1:] == ([] if answer is None else [answer])


def test_answer_counts_only_after_a_think_tag_opened_by_the_prompt_is_closed():
    assert Reply("the answer is 5", think_open=True).answers == []
    assert Reply("r </think> the answer is 5", think_open=True).answers == ["5"]


def test_the_last_box_counts():
    assert grade(PROBLEM, "So \\boxed{4}. No, it is \\boxed{5}.").value == 1
    assert grade(PROBLEM, "So \\boxed{5}. No, it is \\boxed{4}.").value == 0
    assert grade(PROBLEM, "Step 1:\n\n\\[\\boxed{2}\\]\n\nStep 2:\n\n\\[\\boxed{5}\\]").value == 1


def test_all_boxes_of_one_sentence_must_be_right():
    assert grade(PROBLEM, "\\boxed{5}, I mean \\boxed{5.0}").value == 1
    verdict = grade(PROBLEM, "\\boxed{4} or \\boxed{5}")
    assert verdict.value == 0 and verdict.extracted == "5" and "several answers" in verdict.reason


def test_score_is_the_weighted_sum_of_its_parts():
    def scored(text, truncated=False):
        return score(PROBLEM, text, BOTH, think_open=False, answer_tags=True, truncated=truncated)

    assert scored(GOOD).total == 1.5 and scored(GOOD).parts == {"accuracy": 1, "format": 1}
    assert scored("\\boxed{5}").parts == {"accuracy": 1, "format": 0}
    assert scored(GOOD.replace("5", "6")).parts == {"accuracy": 0, "format": 1}
    assert scored(GOOD, truncated=True).parts == {"accuracy": 1, "format": 0}
    assert scored("the answer is 5", truncated=True).extracted is None  # of 52?
    assert scored("no").reason == "no answer found"


def test_user_reward_failures_raise_instead_of_scoring_zero(tmp_path, monkeypatch):
    (tmp_path / "own_rewards.py").write_text(
        "def short(problem, text): return len(text) < 99\n"
        "def none(problem, text): return None\n"
        "def nan(problem, text): return float('nan')\n"
        "def word(problem, text): return '1'\n"
        "def bug(problem, text): return 1 / 0\n"
        "number = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def run(name):
        return score(PROBLEM, GOOD, {f"own_rewards:{name}": 2.0}, think_open=False, answer_tags=True, truncated=False)

    assert run("short").total == 2.0
    for name, shown in [("none", "None"), ("nan", "nan"), ("word", "'1'"), ("bug", "ZeroDivisionError")]:
        with pytest.raises(RewardError, match=f"own_rewards:{name} .*{shown}.*|own_rewards:{name} .*p1.*") as caught:
            run(name)
        assert "p1" in str(caught.value) and shown in str(caught.value)
    check_reward_names({"accuracy": 1, "format": 1, "own_rewards:short": 1})
    for name, message in [
        ("acuracy", "did you mean accuracy"),
        ("own_rewards:shrt", "shrt"),
        ("no_module:f", "recipe's directory"),
        ("own_rewards:number", "of type int"),
    ]:
        with pytest.raises(RewardError, match=message):
            check_reward_names({name: 1.0})


def test_unknown_verifier_raises():
    with pytest.raises(RewardError, match=r"p1.*'maths'.*countdown"):
        grade(Problem("p1", "", "5", verifier="maths"), GOOD)


def test_built_in_rewards_can_be_combined():
    weights = {"accuracy": 1.0, "format": 0.5, "language": 0.25}
    text = "<think>We add two and three and get five.</think> <answer> 5 </answer>"
    assert score(PROBLEM, text, weights, think_open=False, answer_tags=True, truncated=False).total == 1.75
    cut = score(PROBLEM, text, {"format": 1.0}, think_open=False, answer_tags=True, truncated=True)
    assert cut.total == 0 and cut.extracted is None and not cut.masked
    assert (
        score(
            PROBLEM, "<think> </think>", {"language": 1.0}, think_open=False, answer_tags=False, truncated=False
        ).total
        == 0
    )


def test_a_score_says_whether_the_answer_could_be_read():
    def readable(text):
        return score(PROBLEM, text, {"accuracy": 1.0}, think_open=False, answer_tags=False, truncated=False).readable

    assert readable("\\boxed{5}") and readable("\\boxed{6}")
    assert not readable("\\boxed{many (apples}") and not readable("I do not know")


@fixture_and_shared("rewards", "gsm8k/model_solutions.jsonl")
def test_gsm8k_model_solutions_are_graded_as_published(path):
    graded = wrong = 0
    for row in map(json.loads, path.open(encoding="utf-8")):
        problem = Problem("p", row["question"], Reply(row["ground_truth"]).answers[-1])
        for solution in (value for value in row.values() if isinstance(value, dict)):
            graded += 1
            wrong += grade(problem, solution["solution"]).value != solution["is_correct"]
    assert (graded, wrong) == (5276 if path.is_relative_to(SHARED) else 6, 0)


@fixture_and_shared("rewards", "vectors/adversarial.jsonl")
def test_adversarial_responses_earn_nothing(path):
    rows = [row for row in map(json.loads, path.open(encoding="utf-8")) if row["kind"] == "math"]
    assert len(rows) > 5
    for row in rows:
        if row["policy"] != "either":
            assert grade(Problem("p", "", row["gold"]), row["response"]).value == row["expected"], row

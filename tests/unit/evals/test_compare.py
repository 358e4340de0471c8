"""`r1kit compare`: paired differences, exact tests and protocols that differ."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from statistics import fmean

import pytest
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.errors import UserError
from r1kit.evals.compare import compare_results, read_results
from r1kit.evals.paired import FLIPS, compare, mcnemar, sign_flip_test

PROTOCOL = {"benchmark": "aime24", "extraction": "last box", "template": "chat", "samples": 2, "temperature": 0.6}


def evaluation(folder: Path, scores: dict[str, list], **changes: object) -> str:
    """Write an evaluation on `sums` as `r1kit eval` does; None is a sample without a grade."""
    folder.mkdir(parents=True)
    rows = [
        {"benchmark": "sums", "prompt_id": problem, "sample": i, "correct": None if x is None else x == 1}
        | ({"credit": x} if x not in (0, 1, None) else {})
        for problem, samples in scores.items()
        for i, x in enumerate(samples)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"protocol": PROTOCOL | changes}
    (folder / "results.json").write_text(json.dumps({"model": "m", "benchmarks": {"sums": summary}}))
    return str(folder)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (0, 6, 2 / 64), (8, 1, 2 * 10 / 512)],
)
def test_mcnemar_is_the_binomial_test_of_discordant_problems(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p)


def test_few_differences_are_tested_with_all_signs() -> None:
    differences = [0.5, -0.25, 0.75, 0.0, 0.5, 0.125]
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=False)))
        for signs in itertools.product((1, -1), repeat=6)
    ]
    assert sign_flip_test(differences) == fmean(total >= abs(sum(differences)) - 1e-12 for total in sums)
    assert sign_flip_test([0.0, 0.0]) == 1 and sign_flip_test([0.1] * 6) == 2 / 64


def test_many_differences_are_tested_with_seeded_flips() -> None:
    rng = random.Random(1)
    noise = [rng.gauss(0, 1) for _ in range(200)]
    shifted = [x + 0.5 for x in noise]
    assert sign_flip_test(shifted) == 1 / (1 + FLIPS)
    p = sign_flip_test([x + 0.12 for x in noise], seed=3)
    assert p == sign_flip_test([x + 0.12 for x in noise], seed=3) and 0.001 < p < 1
    normal = compare([x + 0.12 for x in noise], [0.0] * 200)
    assert p == pytest.approx(_normal_p(normal.difference / normal.standard_error), abs=0.02)


def _normal_p(z: float) -> float:
    from statistics import NormalDist

    return 2 * (1 - NormalDist().cdf(abs(z)))


def test_difference_is_paired_by_problem() -> None:
    a, b = [1.0, 0.5, 0.75, 0.25], [0.5, 0.0, 0.25, 0.25]
    result = compare(a, b)
    assert result.difference == 0.375 and (result.better_a, result.better_b) == (3, 0)
    assert result.standard_error == pytest.approx(0.125)  # sd(0.5, 0.5, 0.5, 0) / 2
    assert result.ci95 == pytest.approx((0.1300045, 0.6199955), abs=1e-6)
    assert result.minimum_detectable == pytest.approx(2.8 * 0.125) and result.test == "sign-flip permutation"
    assert compare([1.0, 0.0], [0.0, 0.0], binary=True).test == "exact McNemar"
    with pytest.raises(ValueError, match="no problems"):
        compare([], [])


def test_results_are_compared_on_shared_problems_with_their_credit(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {"1": [1, 0], "2": [1, None], "3": [0.5, 1], "4": [None, None], "5": [1, 1]})
    b = evaluation(tmp_path / "b", {"3": [0, 0], "2": [1, 1], "1": [0, 0], "6": [1, 1]})
    found = compare_results(read_results(a), read_results(b))["benchmarks"]["sums"]
    assert found["problems"] == 3 and found["left_out"] == [1, 1] and found["differs"] == []
    assert found["difference"] == pytest.approx((0.5 + 0 + 0.75) / 3)


def test_one_right_or_wrong_sample_each_is_tested_by_mcnemar(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", {str(i): [int(i < 8)] for i in range(10)})
    b = evaluation(tmp_path / "b", {str(i): [int(i == 9)] for i in range(10)})
    result = CliRunner().invoke(app, ["compare", a, b, "--json"])
    found = json.loads(result.stdout)["benchmarks"]["sums"]
    assert found["test"] == "exact McNemar" and found["p_value"] == pytest.approx(2 * 10 / 512)
    shown = CliRunner(env={"COLUMNS": "140"}).invoke(app, ["compare", a, b]).output
    assert "+70.0" in shown and "0.039" in shown and "exact McNemar" in shown and "warning" not in shown


def test_other_sampling_is_named_and_other_graders_are_refused(tmp_path: Path) -> None:
    scores = {"1": [1, 0], "2": [0, 1]}
    a = evaluation(tmp_path / "a", scores)
    cooler = evaluation(tmp_path / "b", scores, temperature=0, samples=2, judge=None)
    judged = evaluation(tmp_path / "c", scores, judge={"model": "other"}, template="none")
    [found] = compare_results(read_results(a), read_results(cooler))["benchmarks"].values()
    assert found["differs"] == ["temperature: 0.6 and 0"]
    with pytest.raises(UserError, match=r"sums: .* judge: None and \{'model': 'other'\}.*--anyway"):
        compare_results(read_results(a), read_results(judged))
    [found] = compare_results(read_results(a), read_results(judged), anyway=True)["benchmarks"].values()
    assert [line.partition(":")[0] for line in found["differs"]] == ["judge", "template"]
    shown = CliRunner(env={"COLUMNS": "140"}).invoke(app, ["compare", a, judged, "--anyway"]).output
    assert "warning: differs in judge" in shown


def test_runs_stages_directories_and_files_are_found(tmp_path: Path) -> None:
    run = tmp_path / "run"
    evaluation(run / "stages" / "before" / "data", {"1": [1]})
    for given in (run, run / "before", run / "stages" / "before", run / "stages" / "before" / "data"):
        assert dict(read_results(str(given)).scores["sums"]) == {"1": [1.0]}
    for name in ("samples.jsonl", "results.json"):
        assert read_results(str(run / "stages" / "before" / "data" / name)).protocols["sums"] == PROTOCOL
    evaluation(run / "stages" / "after" / "data", {"1": [1]})
    with pytest.raises(UserError, match=r"several stages have evaluated: name one of .*run/after, .*run/before"):
        read_results(str(run))
    with pytest.raises(UserError, match="nothing: no results: must be a run"):
        read_results(str(tmp_path / "nothing"))


def test_an_evaluation_compared_with_itself_is_remarked_on(tmp_path: Path) -> None:
    a, other = (evaluation(tmp_path / name, {"1": [1, 0]}) for name in "ab")
    assert compare_results(read_results(a), read_results(other))["remark"] == ""
    remark = compare_results(read_results(a), read_results(f"{a}/samples.jsonl"))["remark"]
    assert "A and B are one evaluation" in remark
    shown = CliRunner(env={"COLUMNS": "140"}).invoke(app, ["compare", a, a]).output
    assert "every difference is 0" in " ".join(shown.split())


def test_evaluations_without_common_ground_are_refused(tmp_path: Path) -> None:
    a, b = (read_results(evaluation(tmp_path / name, {name: [1]})) for name in "ab")
    with pytest.raises(UserError, match="sums: no problem in common"):
        compare_results(a, b)
    (tmp_path / "other.jsonl").write_text('{"benchmark": "aime", "prompt_id": "1", "correct": true}\n')
    with pytest.raises(UserError, match=r"no benchmark in common: .* has sums; .* has aime"):
        compare_results(a, read_results(str(tmp_path / "other.jsonl")))
    (tmp_path / "wrong.jsonl").write_text('{"question": "?"}\n')
    with pytest.raises(UserError, match=r"wrong\.jsonl, row 1: the field 'correct' is missing"):
        read_results(str(tmp_path / "wrong.jsonl"))

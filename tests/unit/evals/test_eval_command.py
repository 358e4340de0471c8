"""`r1kit eval`: names of benchmarks, kept samples, families."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.evals.measure import benchmarks_from
from r1kit.report.terminal import comparison_table

SUMMARY = {"pass@1": 0.5, "by_family": {"sums": {"pass@1": 0.25}, "sets": {"pass@1": 0.75}}}


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["gsm8k/test.jsonl"], ["test"]),
        (["data/gsm8k/test.jsonl", "data/math/test.jsonl"], ["gsm8k/test", "math/test"]),
        (["a/x/test.jsonl", "b/x/test.jsonl", "b/x/train.jsonl"], ["a/x/test", "b/x/test", "train"]),
        (["x/test.jsonl", "x/test.csv"], ["x/test.jsonl", "x/test.csv"]),
        (["org/gsm8k:main", "world:logic"], ["gsm8k", "logic"]),
        (["org/gsm8k:main", "other/gsm8k:main"], ["org/gsm8k", "other/gsm8k"]),
        (["org/set:a", "org/set:b"], ["set:a", "set:b"]),
        (["world:logic", "reasoning_gym:logic"], ["world:logic", "reasoning_gym:logic"]),
        (["verifiers:wordle"], ["wordle"]),
    ],
)
def test_benchmarks_are_named_by_the_end_of_the_path_that_is_their_own(sources: list[str], names: list[str]) -> None:
    benchmarks = benchmarks_from(sources)
    assert list(benchmarks) == names
    assert [source.source for group in benchmarks.values() for source in group] == sources


def test_families_are_shown_where_there_are_several() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    one = {**SUMMARY, "by_family": {"sums": {"pass@1": 0.5}}}
    console.print(comparison_table({"m": {"benchmarks": {"both": SUMMARY, "one": one}}}, families=True))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["sums", "25.0", "%"] in lines and ["sets", "75.0", "%"] in lines and ["sums", "50.0", "%"] not in lines


def test_one_model_is_no_before_and_after() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(comparison_table({"m": {"benchmarks": {"sums": SUMMARY}}}))
    assert "Results" in (shown := console.export_text()) and "Before and after" not in shown


@pytest.mark.slow
def test_a_finished_evaluation_is_neither_repeated_nor_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = tmp_path / "sums.jsonl"
    data.write_text('{"question": "1+1?", "answer": "2"}\n')

    def run(*options: str):
        given = ["--prompts", str(data), "--samples", "1", "--max-completion-length", "4", "--json"]
        return CliRunner().invoke(app, ["eval", "sprout-base", *given, "--out", str(out), *options])

    first = run()
    written = (out / "results.json").stat().st_mtime_ns
    again = run()
    assert json.loads(again.stdout.splitlines()[-1]) == json.loads(first.stdout.splitlines()[-1])
    assert "this evaluation is finished" in again.output and (out / "results.json").stat().st_mtime_ns == written
    for options in (["--seed", "1"], ["--temperature", "0"]):
        message = str(run(*options).exception)
        assert "has the results of another evaluation (sprout-base on sums" in message and "another --out" in message
    data.write_text('{"question": "1+2?", "answer": "3"}\n')
    assert "or data may differ" in str(run().exception), "other data is another evaluation"


@pytest.mark.slow
def test_samples_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out in ("mine", None):
        options = [
            "--prompts",
            "world:logic",
            "--limit",
            "2",
            "--samples",
            "2",
            "--max-completion-length",
            "4",
            "--json",
        ]
        result = CliRunner().invoke(app, ["eval", "sprout-base", *options, *(["--out", out] if out else [])])
        assert result.exit_code == 0, result.output
        (directory,) = [tmp_path / out] if out else (tmp_path / "evals").glob("sprout-base-*")
        rows = [json.loads(line) for line in (directory / "samples.jsonl").read_text().splitlines()]
        assert len(rows) == 4 and all("completion" in row for row in rows)
        printed = json.loads(result.stdout.splitlines()[-1])
        assert json.loads((directory / "results.json").read_text()) == printed
        assert str(directory.relative_to(tmp_path)) in result.output, "the directory is told"


@pytest.mark.slow
def test_episodes_are_evaluated_with_their_environment(tmp_path: Path) -> None:
    given = ["--prompts", "world:bignum", "--environment", "calculator", "--template", "none", "--limit", "2"]
    given += ["--samples", "1", "--max-completion-length", "24", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, ["eval", "sprout-base", *given]).exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert [row["spans"][0][0] for row in rows] == ["assistant"] * 2
    wrong = CliRunner().invoke(app, ["eval", "sprout-base", "--environment", "calculater"])
    assert wrong.exit_code and "did you mean calculator" in str(wrong.exception)


@pytest.mark.slow
def test_scores_of_an_environment_have_no_majority_and_nothing_to_parse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base model has no chat template: it gets that of rl stages with `template = "chat"`."""
    monkeypatch.chdir(tmp_path)
    Path("scored_once.py").write_text("def half(problem, turns):\n    return len(turns[0]) % 2\n")
    rows = [{"question": f"What is 3+{i}?", "answer": "-", "verifier": "environment"} for i in range(2)]
    Path("scored.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--prompts", "scored.jsonl", "--environment", "scored_once:half", "--template", "chat"]
    given += ["--samples", "2", "--max-completion-length", "24", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["eval", "sprout-base", *given])
    assert result.exit_code == 0, result.output
    assert "pass@1" in result.output and "cons@" not in result.output and "unparsed" not in result.output
    summary = json.loads((tmp_path / "out/results.json").read_text())["benchmarks"]["scored"]
    assert "pass@2" in summary and summary["protocol"]["template"] == "chat"
    assert not {"cons@2", "unparsed"} & summary.keys() and summary["vote_curve"] == []
    values = [json.loads(line)["values"] for line in (tmp_path / "out/problems.jsonl").read_text().splitlines()]
    assert len(values) == 2 and not any(key.startswith("cons@") for row in values for key in row)

"""`r1kit eval --bench` and `r1kit benchmarks`: the protocol of each benchmark, and what is printed with its numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from r1kit.cli import app
from r1kit.config import Evaluate
from r1kit.errors import UserError
from r1kit.evals.measure import named_benchmarks
from r1kit.evals.protocol import paper_of, setting_of
from r1kit.evals.task import find_task
from r1kit.report.benchmarks import protocol_lines

FIXTURES = Path(__file__).parents[3] / "fixtures" / "evals" / "tasks"


def stage(**keys: object) -> Evaluate:
    return Evaluate.model_validate({"kind": "evaluate", "model": "m", "benchmarks": {"a": ["bench:aime24"]}, **keys})


def test_keys_that_a_stage_does_not_set_are_those_of_the_benchmark() -> None:
    own = setting_of(stage(), 1, find_task("aime24"))
    assert (own.samples, own.style.template, own.params.max_tokens) == (64, "chat", 32_768)
    given = setting_of(stage(samples=2, template="none", max_completion_length=9), 1, find_task("aime24"))
    assert (given.samples, given.style.template, given.params.max_tokens) == (2, "none", 9)
    assert setting_of(stage(), 1, None).samples == 16


def test_names_become_sources_with_their_files() -> None:
    found = named_benchmarks("drop:0-shot,sprout", ["drop=my.jsonl"], ["question=Q"], limit=3)
    assert {name: (s.source, s.limit, s.fields) for name, [s] in found.items()} == {
        "drop:0-shot": ("bench:drop:0-shot=my.jsonl", 3, {"question": "Q"}),
        "sprout": ("bench:sprout", 3, {}),
    }


def test_columns_are_renamed_in_the_files_of_data_or_of_the_only_benchmark() -> None:
    assert named_benchmarks("aime24", [], ["problem=P"])["aime24"][0].fields == {"problem": "P"}
    with pytest.raises(UserError, match=r"--field problem=P: give also --data NAME=FILE"):
        named_benchmarks("aime24,sprout", [], ["problem=P"])


@pytest.mark.parametrize(
    ("names", "data", "message"),
    [
        ("aime25", ["aime24=f.jsonl"], r"--data aime24=\.\.\.: --bench does not name aime24"),
        ("aime25", ["aime25"], "--data aime25: must be NAME=FILE"),
        (" , ", [], "--bench is empty"),
        ("aime26", [], "unknown benchmark 'aime26'"),
    ],
)
def test_wrong_arguments_are_explained(names: str, data: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        named_benchmarks(names, data)


def test_the_papers_numbers_follow_the_number_of_samples() -> None:
    task = find_task("aime24")
    assert paper_of(task, 64)["cons@64"]["R1-Distill-Qwen-7B"] == 83.3
    assert list(paper_of(task, 16)) == ["pass@1"] and paper_of(task, 16)["pass@1"]["R1"] == 79.8
    assert paper_of(find_task("sprout"), 16) == {}


def test_summaries_without_a_protocol_print_none() -> None:
    assert list(protocol_lines("old", {"pass@1": 0.5})) == []


@pytest.mark.slow
def test_bench_evaluates_sprout_with_its_protocol(tmp_path: Path) -> None:
    data = tmp_path / "aime.csv"
    data.write_text("Aufgabe,answer\n1+1?,2\n2+2?,4\n")
    options = ["--bench", "sprout,aime24", "--data", f"aime24={data}", "--field", "problem=Aufgabe", "--limit", "3"]
    options += ["--samples", "2", "--max-completion-length", "6", "--template", "r1-zero", "--out", str(tmp_path / "o")]
    result = CliRunner().invoke(app, ["eval", "sprout-base", *options, "--json"])
    assert result.exit_code == 0, result.output
    summaries = json.loads(result.stdout.splitlines()[-1])["benchmarks"]
    assert summaries["sprout"]["problems"] == 3 and summaries["aime24"]["problems"] == 2
    stated = summaries["aime24"]["protocol"]
    assert (stated["denominator"], stated["samples"], stated["published_problems"]) == (4, 2, 30)
    assert stated["graded_text"] == "after the last </think>" and stated["system_prompt"] == ""
    assert summaries["aime24"]["paper"]["pass@1"]["R1"] == 79.8 and "paper" not in summaries["sprout"]
    assert 0 <= summaries["aime24"]["unparsed"] <= 1
    rows = [json.loads(line) for line in (tmp_path / "o" / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * 2 + 2 * 2 and {row["think_open"] for row in rows} == {False}
    shown = "\n".join(protocol_lines("aime24", summaries["aime24"]))
    assert "template r1-zero, no system prompt, temperature 0.6, top-p 0.95, k = 2, cap 6 tokens" in shown
    assert "4 completions of 2 problems (published: 30); unparsed" in shown


@pytest.mark.slow
def test_answers_for_other_programs_are_written_with_the_command(tmp_path: Path) -> None:
    options = ["--bench", "alpaca_eval", "--data", f"alpaca_eval={FIXTURES / 'alpaca_eval.jsonl'}", "--template"]
    options += ["r1-zero", "--max-completion-length", "6", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["eval", "sprout-base", *options])
    assert result.exit_code == 0, result.output
    assert "alpaca_eval --model_outputs" in " ".join(result.output.split())
    assert len(json.loads((tmp_path / "alpaca_eval" / "model_outputs.json").read_text())) == 1
    summary = json.loads((tmp_path / "results.json").read_text())["benchmarks"]["alpaca_eval"]
    assert "pass@1" not in summary and summary["problems"] == 1


@pytest.mark.slow
def test_a_template_that_the_model_lacks_is_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    """The second benchmark's own template is `chat`, which the model has none of."""
    options = ["--bench", "sprout,aime24", "--data", f"aime24={FIXTURES / 'aime24.jsonl'}", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["eval", "sprout-base", *options, "--limit", "1"])
    assert isinstance(result.exception, UserError) and "no chat template" in str(result.exception)
    assert "evaluate " not in result.output and list(tmp_path.iterdir()) == []


def test_prompts_and_bench_exclude_each_other() -> None:
    result = CliRunner().invoke(app, ["eval", "sprout-base", "--bench", "sprout", "--prompts", "world:logic"])
    assert result.exit_code != 0 and "--prompts with --bench: give one of them" in str(
        result.exception or result.output
    )


def test_benchmarks_are_listed() -> None:
    result = CliRunner().invoke(app, ["benchmarks", "--json"])
    rows = json.loads(result.stdout.splitlines()[-1])["benchmarks"]
    assert {"aime24", "sprout", "swe_bench"} <= {row["name"] for row in rows}
    table = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["benchmarks"]).output
    assert max(map(len, table.splitlines())) <= 80 and "…" not in table
    assert all(row["name"] in table and f"{row['n']:,} x {row['k']}" in table for row in rows)
    shown = CliRunner().invoke(app, ["benchmarks", "gpqa_diamond"]).output
    assert "198" in shown and "hf auth login" in shown.replace("\n", " ")

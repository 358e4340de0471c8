"""The model card says what the run's files say, and the hub's own parser reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from published_run import finished_run

from r1kit import files
from r1kit.report.card import inputs
from r1kit.report.card.facts import facts_of
from r1kit.report.card.render import render_card
from r1kit.run_dir import RunDir


def card(run: RunDir, licence: str | None = None, repository: str = "someone/small") -> ModelCard:
    return ModelCard(render_card(facts_of(run.path, "zero", repository), licence))


def test_metadata_and_model_index_are_parsed_by_the_hubs_library(tmp_path: Path) -> None:
    read = card(finished_run(tmp_path / "run"))
    data, summary = read.data, files.read_json(tmp_path / "run/stages/after/data/results.json")
    assert (data.license, data.pipeline_tag, data.library_name) == ("mit", "text-generation", "transformers")
    assert {"r1kit", "reinforcement-learning"} <= set(data.tags) and data.language == ["en", "zh"]
    assert data.base_model is None, "sprout-base is not on the hub"
    values = {result.metric_type: result for result in data.eval_results}
    measured = summary["benchmarks"]["held-out"]
    assert values["pass@1"].metric_value == round(measured["pass@1"], 4)
    assert values["pass@1"].metric_args["ci95"] == [round(bound, 4) for bound in measured["ci95"]]
    assert (values["cons@4"].dataset_name, values["cons@4"].metric_args["problems"]) == ("held-out", 40)


def test_text_has_results_of_model_and_base_training_and_limits(tmp_path: Path) -> None:
    text = card(finished_run(tmp_path / "run")).text
    assert "885,888 parameters" in text and "trained from `sprout-base`" in text
    assert "| | sprout-base | zero |" in text and "40 problems, 4 samples each" in text
    assert "| zero | rl | sprout-base | world:arithmetic; rewards: accuracy x 1, format x 0.5 |" in text
    assert "a CPU, 2 threads" in text and "r1kit run recipe.toml --until zero" in text
    assert "it is a toy" in text and "No stage trained it to be helpful or harmless." in text
    assert "not other tasks" in text and "No watchdog of r1kit" in text
    assert "`identity of zero`" in text


def test_watchdogs_that_fired_are_named(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    with run.stage("zero").metrics.open("a") as log:
        log.write(json.dumps({"step": 21, "alerts": {"repetition": "half of it | repeats"}}) + "\n")
    text = card(run).text
    assert "| repetition | zero | step 21 | half of it \\| repeats |" in text and "No watchdog" not in text


def test_changes_during_the_training_are_named(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run")
    assert "same bits" in card(run).text
    artifact = files.read_json(run.stage("zero").artifact)
    artifact["amendments"] = [{"step": 10, "changed": {"learning_rate": [1e-4, None]}}]
    artifact["summary"]["published_step"] = 15
    files.write_json(run.stage("zero").artifact, artifact)
    text = card(run).text
    assert "- zero, after step 10: learning_rate from 0.0001 to null\n" in text and "same bits" not in text
    assert "20 steps, 5,000 tokens, of which step 15 was the best" in text


def test_unknown_licences_are_said_openly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    run = finished_run(tmp_path / "run", prompts='["own.jsonl"]')
    read = card(run)
    assert (read.data.license, read.data.license_name) == ("other", "unknown")
    assert "| own.jsonl | training problems | unknown |" in read.text and "is not known" in read.text
    Path("README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    read = card(run)
    assert read.data.license == "mit" and "| own.jsonl | training problems | cc-by-4.0 |" in read.text
    Path("README.md").write_text("---\n[: no YAML\n---\n")
    assert card(run).data.license == "other"
    assert "`apache-2.0`, as its publisher states" in card(run, licence="apache-2.0").text


def test_a_base_and_data_from_the_hub_are_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = finished_run(tmp_path / "run", prompts='["openai/gsm8k:main"]')
    shutil.copytree(run.stage("zero").model, "org/base")
    Path("org/base/README.md").write_text("---\nlicense: apache-2.0\n---\n")
    for path in (run.recipe, run.stage("zero").artifact):
        path.write_text(path.read_text().replace('"sprout-base"', '"org/base"'))
    data = card(run).data
    assert (data.base_model, data.datasets) == ("org/base", ["openai/gsm8k"])
    assert data.license == "other", "the dataset's is not known here"


def test_folders_of_this_machine_are_not_named() -> None:
    assert inputs.shown("/home/someone/data/x.jsonl") == "x.jsonl" and inputs.shown("org/name") == "org/name"


@pytest.mark.slow
def test_the_transformers_example_runs_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path / "run", template='"none"')
    text = card(run).text
    code = text.partition("```python\n")[2].partition("```")[0]
    code = code.replace("someone/small", str(run.stage("zero").model)).replace("512", "8")
    exec(compile(code, "card", "exec"), {})
    assert capsys.readouterr().out.strip()

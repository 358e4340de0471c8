"""Models and data that a recipe names are looked at before anything runs, those of the last stage too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r1kit import hub
from r1kit.recipe import inputs, load_recipe, unusable_inputs

RECIPE = """
name = "r"
[stage.zero]
kind = "rl"
model = "sprout-base"
prompts = ["world:logic"]
max_completion_length = 64
[stage.data]
kind = "curate"
model = "zero"
prompts = ["world:logic"]
data = ["world:talk"]
[stage.more]
kind = "sft"
model = "zero"
data = ["data"]
[stage.last]
kind = "evaluate"
model = "more"
benchmarks = { x = [{ source = "world:logic", split = "held_out" }] }
"""
QWEN2 = {
    "model_type": "qwen2",
    "vocab_size": 8,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
}


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.setattr(hub, "cached_model", lambda reference: None)
    monkeypatch.setattr(hub, "unavailable", lambda wanted: dict.fromkeys(wanted, "the hub cannot be reached"))
    (tmp_path / "r.toml").write_text(RECIPE)


def problems(*overrides: str, stages: list[str] | None = None) -> list[str]:
    recipe = load_recipe("r.toml", overrides)
    return [str(mistake) for mistake in unusable_inputs(recipe, stages or list(recipe.stage))]


def checkpoint(**config: object) -> None:
    """Write what a checkpoint in `m` consists of, as far as it is looked at."""
    Path("m").mkdir()
    Path("m/config.json").write_text(json.dumps({**QWEN2, **config}))
    for name in ("tokenizer.json", "model.safetensors"):
        Path("m", name).touch()


def test_worlds_and_earlier_stages_are_there() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('stage.last.benchmarks.x=["absent.jsonl"]', "stage.last.benchmarks.x[0]: absent.jsonl: no such file"),
        ('stage.last.benchmarks.x=["./absent"]', "stage.last.benchmarks.x[0]: ./absent: no such file"),
        ('stage.last.benchmarks.x=["empty.csv"]', "stage.last.benchmarks.x[0]: empty.csv: the file is empty"),
        ('stage.zero.prompts=["folder"]', "stage.zero.prompts[0]: folder: a directory, not a file: name a file in it"),
        ('stage.zero.prompts=["notes.txt"]', "stage.zero.prompts[0]: notes.txt: suffix '.txt': must be .jsonl, "),
        ('stage.data.data=["absent.csv.gz"]', "stage.data.data[0]: absent.csv.gz: no such file"),
        ('stage.more.data=["org/rows"]', "stage.more.data[0]: org/rows: no local file; the hub cannot be reached"),
        ('stage.last.benchmarks.x=["org/a:main"]', "benchmarks.x[0]: org/a:main: no local file; the hub cannot"),
        ("stage.last.model=org/m", "stage.last.model: org/m: not a directory here; the hub cannot be reached"),
        (
            'stage.zero.general=[{prompts=["absent.jsonl"], rewards={format=1}}]',
            "stage.zero.general[0].prompts[0]: absent.jsonl: no such file",
        ),
    ],
)
def test_what_is_not_there_is_named_with_its_key(override: str, message: str) -> None:
    pytest.importorskip("datasets")
    Path("empty.csv").touch()
    Path("folder").mkdir()
    Path("notes.txt").write_text("x")
    (line,) = problems(override)
    assert message in line
    assert problems(override, stages=["another"]) == [], "stages that do not run need nothing"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "vit"}, "stage.last.model: m: config.json: model_type = 'vit': must be a causal"),
        ({"quantization_config": {"bits": 4}}, "stage.last.model: m: config.json sets quantization_config"),
    ],
)  # fmt: skip
def test_unsupported_architecture_is_refused(config: dict[str, object], message: str) -> None:
    checkpoint(**config)
    (line,) = problems("stage.last.model=m")
    assert line.startswith(message)


def test_incomplete_checkpoint_is_refused() -> None:
    checkpoint()
    assert problems("stage.last.model=m") == []
    Path("m/tokenizer.json").unlink()
    Path("m/model.safetensors").rename("m/weights.bin")
    (line,) = problems("stage.last.model=m")
    assert "m: the checkpoint lacks tokenizer.json or tokenizer.model or vocab.json, model.safetensors" in line


def test_cached_model_of_an_unsupported_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(model_type="vit")
    monkeypatch.setattr(hub, "cached_model", lambda reference: Path("m"))
    (line,) = problems("stage.last.model=org/m")
    assert "model_type = 'vit': must be" in line


def test_downloaded_config_of_an_unsupported_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(model_type="vit")
    Path("m/model.safetensors").unlink()  # only config.json has been downloaded
    monkeypatch.setattr(hub, "cached_model", lambda reference: Path("m"))
    monkeypatch.setattr(hub, "unavailable", lambda wanted: {})
    (line,) = problems("stage.last.model=org/m")
    assert line.startswith("stage.last.model: org/m: config.json: model_type = 'vit'")


def test_missing_package_is_refused_with_its_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "find_spec", lambda name: None)
    assert problems('stage.last.benchmarks.x=["reasoning_gym:chain_sum"]', 'stage.more.data=["org/rows"]') == [
        "stage.more.data[0]: org/rows: needs datasets: pip install 'r1kit[hub]'",
        "stage.last.benchmarks.x[0]: reasoning_gym:chain_sum: needs reasoning_gym: pip install 'r1kit[reasoning-gym]'",
    ]


def test_each_repository_is_reported_once() -> None:
    pytest.importorskip("datasets")
    lines = problems("stage.zero.model=org/m", "stage.last.model=org/m", 'stage.zero.prompts=["org/a", "org/a:b"]')
    assert [line.partition(": ")[0] for line in lines] == ["stage.zero.model", "stage.zero.prompts[0]"]

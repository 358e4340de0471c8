"""--quiet and --verbose of every command, and what the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from r1kit import console
from r1kit.cli import app
from r1kit.commands import completion
from r1kit.evals.task import task_names
from r1kit.recipe import bundled_recipes, load_recipe

COMPLETE = "import sys; sys.argv = ['r1kit']; from r1kit.__main__ import main\ntry: main()\n"
COMPLETE += "finally: import time; print(time.process_time(), 'torch' in sys.modules, file=sys.stderr)"


@pytest.fixture
def restored() -> None:
    yield
    console.set_verbosity("normal")


def r1kit(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "r1kit", *args], capture_output=True, text=True)


def completed(*words: str) -> tuple[list[str], float]:
    """What bash offers for the last word, and the CPU seconds that it took."""
    environment = {"_R1KIT_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", COMPLETE], capture_output=True, text=True, env={**os.environ, **environment}
    )
    seconds, has_torch = done.stderr.split()[-2:]
    assert has_torch == "False", done.stderr
    return done.stdout.split(), float(seconds)


def test_every_command_has_both_options() -> None:
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        assert {"quiet", "verbose"} <= {param.name for param in command.params}, name


@pytest.mark.slow
def test_quiet_leaves_results_warnings_and_errors(tmp_path: Path) -> None:
    recipe = tmp_path / "c.toml"
    recipe.write_text(
        'name = "c"\n[stage.zero]\nkind = "rl"\nmodel = "sprout-base"\nprompts = ["world:arithmetic"]\nsteps = 33\n'
    )
    quiet = r1kit("check", str(recipe), "--json", "--quiet")
    assert quiet.stdout.startswith("{") and "warning: stage.zero" in quiet.stderr
    failed = r1kit("check", "nothing", "-q")
    assert failed.returncode == 2 and failed.stderr.startswith("error: nothing: neither a file")
    for options in (("check", str(recipe), "-q", "-v"), ("-q", "check", str(recipe), "-v")):
        both = r1kit(*options)
        assert both.returncode == 2 and "exclude each other" in both.stderr
    in_front = r1kit("-q", "check", str(recipe), "--json")
    assert (in_front.stdout, in_front.stderr) == (quiet.stdout, quiet.stderr)


@pytest.mark.slow
def test_verbose_adds_versions_times_and_tracebacks(tmp_path: Path) -> None:
    verbose = r1kit("check", "sprout-zero", "--verbose")
    assert verbose.returncode == 0 and "asking the hub for models and data: 0." in verbose.stderr
    first = verbose.stderr.splitlines()[0]
    assert "torch 2" in first and first.endswith("r1kit check sprout-zero --verbose")
    (tmp_path / "recipe.toml").mkdir()
    assert "Traceback" not in r1kit("lineage", str(tmp_path), "-v").stderr, "the user can fix it"


@pytest.mark.usefixtures("restored")
def test_messages_by_verbosity(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(verbosity: console.Verbosity) -> list[str]:
        console.set_verbosity(verbosity)
        console.say("progress")
        console.warn("beware")
        console.complain("error: wrong")
        console.detail("cause")
        with console.progress("steps", 2) as bar:
            bar.advance(2)
        return [line.split()[-1] for line in capsys.readouterr().err.splitlines()]

    assert printed("quiet") == ["beware", "wrong"]
    assert printed("normal") == ["progress", "beware", "wrong", "elapsed"]
    assert printed("verbose") == ["progress", "beware", "wrong", "cause", "elapsed"]


@pytest.mark.slow
def test_recipes_stages_and_benchmarks_are_completed_quickly() -> None:
    names, seconds = completed("r1kit", "run", "sprout-")
    assert names == [name for name in bundled_recipes() if name.startswith("sprout-")]
    assert completed("r1kit", "run", "sprout-zero", "--until", "zero_")[0] == ["zero_eval"]
    assert completed("r1kit", "eval", "sprout-base", "--bench", "aime24,math")[0] == ["aime24,math500"]
    assert completed("r1kit", "expo")[0] == ["export"]
    assert seconds < 1.0, "CPU seconds: a quarter of a second on an idle machine"


def test_stages_are_those_that_the_recipe_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def stages(*words: str) -> list[str]:
        return completion.stages_named_in(["r1kit", "run", *words])

    for name in bundled_recipes():
        assert stages("--seed", "1", name) == list(load_recipe(name).stage)
    Path("run").mkdir()
    Path("run/recipe.toml").write_text("[stage.zero]\n[stage.more]\n")
    Path("own.toml").write_text('extends = "run/recipe.toml"\n[stage.last]\n')
    assert stages("run") == ["zero", "more"] and stages("own.toml", "--until", "z") == ["zero", "more", "last"]
    assert stages("none.toml") == stages("run/none") == []
    assert completion.recipes("o") == ["own.toml"]


def test_benchmarks_are_those_that_exist() -> None:
    assert completion.benchmarks("") == sorted(task_names())

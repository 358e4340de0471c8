"""The command line. Results go to stdout, all else to stderr; nothing here imports torch before it is needed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import r1kit
from r1kit import machine
from r1kit.console import say
from r1kit.errors import Interrupted, UserError

if TYPE_CHECKING:
    from r1kit.config import Recipe

app = typer.Typer(
    name="r1kit",
    help="The DeepSeek-R1 recipe as one resumable command. Start with: r1kit run sprout-zero",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="a bundled recipe or a .toml file")]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="a bundled name, a directory, a run's stage or a hub id")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. stage.zero.steps=10; repeatable"),
]
Json = Annotated[bool, typer.Option("--json", help="one JSON object as the last line of stdout")]
TemplateName = Annotated[str, typer.Option(metavar="NAME", help="r1-zero, chat or none")]
Temperature = Annotated[float, typer.Option(help="0 is greedy")]
TopP = Annotated[float, typer.Option(help="nucleus sampling; 1 keeps all")]
Seed = Annotated[int, typer.Option(help="the same seed gives the same answers")]
Length = Annotated[int, typer.Option(help="longest answer in tokens")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"r1kit {r1kit.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="show the version")
    ] = False,
) -> None: ...


def _emit(value: Any) -> None:
    """Machine output: the last line of stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


def _with_seed(overrides: list[str] | None, seed: int | None) -> list[str]:
    return [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]


@app.command()
def run(
    recipe: RecipeName,
    run_dir: Annotated[Path | None, typer.Option(help="where results go; default runs/NAME")] = None,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="the recipe's seed")] = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="stop after this stage")] = None,
    redo_from: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="do this stage and all that depends on it again")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be reused, resumed or run")] = False,
    fork: Annotated[
        Path | None,
        typer.Option(
            metavar="NEWDIR", help="run here instead, with those finished stages of --run-dir that still hold"
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Run a recipe, or go on with it.

    The same command again continues where it stopped: finished stages are skipped, a half-done one resumes.
    """
    from r1kit.recipe import load_recipe
    from r1kit.run import pipeline

    loaded = load_recipe(recipe, _with_seed(overrides, seed))
    if dry_run:
        return _show_preview(loaded, run_dir or Path("runs") / loaded.name, until, redo_from, json_output)
    result = pipeline.run(loaded, run_dir, until=until, redo_from=redo_from, fork_to=fork)
    page = _write_report(result.dir)
    if json_output:
        _emit({"run": str(result.dir), "seconds": round(result.seconds, 1), "evals": result.evals})
    else:
        _print_table(result.dir)
        print(f"report: {page}")


def _show_preview(recipe: Recipe, run_dir: Path, until: str | None, redo_from: str | None, json_output: bool) -> None:
    from dataclasses import asdict

    from r1kit.run import preview

    ahead = preview.preview(recipe, run_dir, until, redo_from)
    if json_output:
        _emit({"run": str(run_dir), "stages": [asdict(stage) for stage in ahead]})
    else:
        print(preview.render(run_dir, ahead))


def _write_report(run_dir: Path) -> Path:
    from r1kit.report.render import write_report

    return write_report(run_dir)


def _print_table(run_dir: Path) -> None:
    from r1kit.report.terminal import render_text

    print(render_text(run_dir, width=shutil.get_terminal_size((120, 24)).columns))


@app.command()
def check(
    recipe: RecipeName,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="the recipe's seed")] = None,
    json_output: Json = False,
) -> None:
    """Check a recipe and show what it would do.

    Stages with their inputs, batch sizes and memory; runs nothing.
    """
    from r1kit import plan
    from r1kit.recipe import load_recipe

    found = plan.plan(load_recipe(recipe, _with_seed(overrides, seed)))
    if json_output:
        for warning in found.warnings:
            say(f"warning: {warning}")
        _emit(found.to_json())
    else:
        print(plan.render(found))


@app.command("eval")
def evaluate(
    model: ModelName,
    prompts: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="world:NAME, a file or a hub dataset; repeatable; default: every world"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="default: held_out for worlds, test for the rest")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="the first N problems of each source")] = None,
    samples: Annotated[int, typer.Option(min=1, help="answers to each problem")] = 4,
    template: TemplateName = "r1-zero",
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_completion_length: Length = 512,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Measure a model on benchmarks.

    pass@1 as a mean over samples with its 95 % interval, cons@k, pass@k, format rate and length.
    """
    from r1kit.evals import measure

    settings = {"template": template, "temperature": temperature, "top_p": top_p, "samples": samples}
    benchmarks = measure.benchmarks_from(prompts or measure.world_sources(), split, limit)
    found = measure.evaluate(model, benchmarks, seed=seed, max_completion_length=max_completion_length, **settings)
    if json_output:
        _emit(found)
    else:
        from rich.console import Console

        from r1kit.report.table import comparison_table

        Console().print(comparison_table({Path(model).name: found}))


@app.command()
def sample(
    model: ModelName,
    question: Annotated[str, typer.Argument(help="what to ask")],
    n: Annotated[int, typer.Option("-n", min=1, help="how many answers")] = 1,
    template: TemplateName = "r1-zero",
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_completion_length: Length = 512,
    seed: Seed = 0,
) -> None:
    """Ask a model a question and watch it answer."""
    from r1kit.evals import measure

    pieces = measure.sample(
        model,
        question,
        n=n,
        template=template,
        temperature=temperature,
        top_p=top_p,
        max_completion_length=max_completion_length,
        seed=seed,
    )
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the directory of a run")]) -> None:
    """Write a run's report.html and print its table."""
    page = _write_report(run_dir)
    _print_table(run_dir)
    print(f"report: {page}")


@app.command()
def lineage(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="the directory of a run")],
    stage: Annotated[str | None, typer.Argument(metavar="STAGE", help="one stage; default: all")] = None,
    json_output: Json = False,
) -> None:
    """Show which data, which models and which code made a run, or one stage of it, back to the roots."""
    from r1kit.report import ancestry

    found = ancestry.trace(run_dir, stage)
    if json_output:
        _emit(found)
    else:
        print(ancestry.render(found))


@app.command()
def grade(
    answers: Annotated[Path | None, typer.Argument(metavar="FILE", help="JSON Lines; default: standard input")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="grading processes; default: one a core")] = None,
    sandbox: Annotated[str, typer.Option(help="auto, wasm, namespaces, landlock, or none: no protection")] = "auto",
    judge_url: Annotated[str | None, typer.Option(help="an OpenAI-compatible endpoint, for the kind judge")] = None,
    judge_model: Annotated[str, typer.Option(help="the model that judges there")] = "default",
) -> None:
    """Grade a file of answers: one verdict a line, in the same order.

    A line is an object with kind, response and what the kind needs, such as gold, options, tests or constraints.
    """
    from r1kit.rewards import grade_file as grading
    from r1kit.rewards.judge.client import Endpoint
    from r1kit.rewards.services import Settings

    judge = Endpoint(judge_url, judge_model) if judge_url else None
    source = sys.stdin.buffer if answers is None else answers.open("rb")
    settings = Settings(sandbox, judge=judge)
    with source:
        try:
            found = grading.grade_stream(source, sys.stdout.buffer, workers or os.cpu_count() or 1, settings)
        except BrokenPipeError:  # whoever read the verdicts has seen enough, as in `r1kit grade FILE | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    say(", ".join(f"{number} {outcome}" for outcome, number in sorted(found.items())) or "no line to grade")


@app.command()
def doctor(json_output: Json = False) -> None:
    """Show what this machine offers and what r1kit would choose on it."""
    from r1kit.model.reference import bundled_models
    from r1kit.rewards.sandbox import survey

    found = machine.examine(survey(), bundled_models())
    if json_output:
        _emit(found)
    else:
        print(machine.render(found))


def main() -> None:
    """Entry point. Exit codes: 0 done, 2 a mistake that the message explains, 130 interrupted, 1 anything else."""
    machine.tune_allocator()
    try:
        app()
    except (Interrupted, UserError, ValueError, FileNotFoundError) as error:
        if os.environ.get("R1KIT_DEBUG") == "1":
            raise
        sys.exit(_tell(error))


def _tell(error: Exception) -> int:
    """Say what went wrong in one message; the exit code."""
    if isinstance(error, Interrupted):
        say(str(error))
        return 130
    lines = str(error).splitlines()
    say("\n  ".join(["error: " + lines[0], *lines[1:]]) if lines else f"error: {type(error).__name__}")
    if not isinstance(error, UserError):  # from a library: the message may not be enough
        say("\n".join(getattr(error, "__notes__", [])) or "(R1KIT_DEBUG=1 shows the traceback)")
    return 2

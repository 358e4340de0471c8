"""The command line. Results go to stdout, everything else to stderr. Torch is imported only where needed."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

import r1kit
from r1kit import failure, machine
from r1kit.console import say
from r1kit.errors import Interrupted
from r1kit.interrupt import signal_handlers

if TYPE_CHECKING:
    from r1kit.config import Recipe


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command. Typer would print "Aborted!" and exit with 1 for a signal."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None


app = typer.Typer(
    name="r1kit",
    cls=_Commands,
    help="The DeepSeek-R1 recipe as one resumable command. Start with: r1kit run sprout-zero",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="a bundled recipe or a .toml file")]
RecipeSeed = Annotated[int | None, typer.Option("--seed", help="the recipe's seed")]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="a bundled model, a directory, a stage of a run or a hub id")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="override a key, e.g. stage.zero.steps=10; repeatable"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line of stdout")]
TemplateName = Annotated[str, typer.Option(metavar="NAME", help="prompt template: r1-zero, chat or none")]
Temperature = Annotated[float, typer.Option(help="sampling temperature; 0 is greedy decoding")]
TopP = Annotated[float, typer.Option(help="nucleus sampling; 1 keeps all tokens")]
Seed = Annotated[int, typer.Option(help="sampling seed")]
Length = Annotated[int, typer.Option(help="maximum length of a completion in tokens")]


def _print_version(requested: bool) -> None:
    if requested:
        print(f"r1kit {r1kit.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="show the version")
    ] = False,
) -> None: ...


def _print_json(value: Any) -> None:
    """Print JSON as the last line of stdout."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


def _load(recipe: str, overrides: list[str] | None, seed: int | None) -> Recipe:
    from r1kit.recipe import load_recipe

    return load_recipe(recipe, [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])])


@app.command()
def run(
    recipe: RecipeName,
    run_dir: Annotated[Path | None, typer.Option(help="directory of the run; default: runs/NAME")] = None,
    overrides: Overrides = None,
    seed: RecipeSeed = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="stop after this stage")] = None,
    redo_from: Annotated[
        str | None,
        typer.Option("--from", metavar="STAGE", help="run this stage and all that depend on it again"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only show which stages would be reused, resumed or run")
    ] = False,
    fork: Annotated[
        Path | None,
        typer.Option(metavar="NEWDIR", help="run here instead, reusing the unchanged finished stages of --run-dir"),
    ] = None,
    json_output: Json = False,
) -> None:
    """Run a recipe, or continue it.

    The same command again continues where it stopped: finished stages are skipped, an unfinished one is resumed.
    """
    from r1kit.run import pipeline

    loaded = _load(recipe, overrides, seed)
    if dry_run:
        return _show_preview(loaded, run_dir or Path("runs") / loaded.name, until, redo_from, json_output)
    result = pipeline.run(loaded, run_dir, until=until, redo_from=redo_from, fork_to=fork)
    page = _write_report(result.dir)
    if json_output:
        _print_json({"run": str(result.dir), "seconds": round(result.seconds, 1), "evals": result.evals})
    else:
        _print_table(result.dir)
        print(f"report: {page}")


def _show_preview(recipe: Recipe, run_dir: Path, until: str | None, redo_from: str | None, json_output: bool) -> None:
    from dataclasses import asdict

    from r1kit.run import preview

    forecasts = preview.preview(recipe, run_dir, until, redo_from)
    if json_output:
        _print_json({"run": str(run_dir), "stages": [asdict(stage) for stage in forecasts]})
    else:
        print(preview.render(run_dir, forecasts))


def _write_report(run_dir: Path) -> Path:
    from r1kit.report.render import write_report

    return write_report(run_dir)


def _print_table(run_dir: Path) -> None:
    from r1kit.report.terminal import render_text

    print(render_text(run_dir, width=shutil.get_terminal_size((120, 24)).columns))


@app.command()
def check(recipe: RecipeName, overrides: Overrides = None, seed: RecipeSeed = None, json_output: Json = False) -> None:
    """Check a recipe and show its stages with inputs, batch sizes and memory. Runs nothing.

    Exits with 2 where `run` would refuse the recipe on this machine.
    """
    from r1kit import plan
    from r1kit.recipe import RecipeError
    from r1kit.run.preflight import preflight

    planned, reasons = preflight(_load(recipe, overrides, seed))
    if json_output:
        for warning in planned.warnings:
            say(f"warning: {warning}")
        _print_json({**planned.to_json(), "errors": reasons})
    else:
        print(plan.render(planned), flush=True)
    if reasons:
        raise RecipeError("\n".join(reasons))


@app.command("recipe")
def show_recipe(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="a recipe to print; default: list all")] = None,
    overrides: Overrides = None,
    keys: Annotated[bool, typer.Option("--keys", help="list every key with its type, default and range")] = False,
    json_output: Json = False,
) -> None:
    """List the bundled recipes, print one with every default, or list all keys that a recipe may have."""
    from r1kit.recipe.keys import listing

    data, text = listing(None if recipe is None else _load(recipe, overrides, None), keys)
    _print_json(data) if json_output else print(text)


@app.command("eval")
def evaluate(
    model: ModelName,
    prompts: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="world:NAME, a file or a hub dataset; repeatable; default: every world"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="split of the sources; default: held_out for worlds, test for others")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="the first N problems of each source")] = None,
    samples: Annotated[int, typer.Option(min=1, max=100_000, help="completions per problem")] = 4,
    template: TemplateName = "r1-zero",
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_completion_length: Length = 512,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Evaluate a model on benchmarks.

    Reports pass@1 (mean over samples) with its 95 % confidence interval, cons@k, pass@k, format rate and length.
    """
    from r1kit.evals import measure

    settings: dict[str, Any] = {"template": template, "temperature": temperature, "top_p": top_p, "samples": samples}
    benchmarks = measure.benchmarks_from(prompts or measure.world_sources(), split, limit)
    result = measure.evaluate(model, benchmarks, seed=seed, max_completion_length=max_completion_length, **settings)
    if json_output:
        _print_json(result)
    else:
        from rich.console import Console

        from r1kit.report.terminal import comparison_table

        Console().print(comparison_table({Path(model).name: result}))


@app.command()
def sample(
    model: ModelName,
    question: Annotated[str | None, typer.Argument(metavar="QUESTION", help="the question")] = None,
    file: Annotated[Path | None, typer.Option(help="a file of questions: one per line, or a data file")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=100_000, help="number of completions per question")] = 1,
    template: TemplateName = "r1-zero",
    temperature: Temperature = 0.6,
    top_p: TopP = 0.95,
    max_completion_length: Length = 512,
    seed: Seed = 0,
    json_output: Json = False,
) -> None:
    """Ask a model a question, or each of a file, and stream its completions."""
    from r1kit.evals import measure

    if (question is None) == (file is None):
        raise typer.BadParameter("give one question, or --file FILE")
    questions = [question] if question is not None else measure.read_questions(cast(Path, file))
    settings: dict[str, Any] = {"template": template, "temperature": temperature, "top_p": top_p, "seed": seed}
    pieces = measure.stream(model, questions, n=n, max_completion_length=max_completion_length, **settings)
    if json_output:
        return _print_json(measure.collect(pieces, model, questions))
    for text in measure.transcript(pieces, questions, n):
        print(text, end="", flush=True)
    print()


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the directory of a run")],
    json_output: Json = False,
) -> None:
    """Write report.html into a run's directory and print its table. With --json, print where it is."""
    page = _write_report(run_dir)
    if json_output:
        return _print_json({"run": str(run_dir), "report": str(page)})
    _print_table(run_dir)
    print(f"report: {page}")


@app.command()
def lineage(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="the directory of a run")],
    stage: Annotated[str | None, typer.Argument(metavar="STAGE", help="one stage; default: all")] = None,
    json_output: Json = False,
) -> None:
    """Show the data, models and code that a run or one of its stages was made from."""
    from r1kit.report import ancestry

    origins = ancestry.trace(run_dir, stage)
    if json_output:
        _print_json(origins)
    else:
        print(ancestry.render(origins))


@app.command()
def grade(
    answers: Annotated[Path | None, typer.Argument(metavar="FILE", help="JSON Lines; default: standard input")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="worker processes; default: one per core")
    ] = None,
    sandbox: Annotated[str, typer.Option(help="auto, wasm, namespaces, landlock, or none (no protection)")] = "auto",
    judge_url: Annotated[str | None, typer.Option(help="OpenAI-compatible endpoint for lines of kind judge")] = None,
    judge_model: Annotated[str, typer.Option(help="the model at that endpoint")] = "default",
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 if any line could not be graded")] = False,
) -> None:
    """Grade a file of answers: one verdict per line as JSON (there is no --json), in the same order.

    Each line is an object with kind, response and the fields of its kind, such as gold, options, tests or constraints.
    Blank lines are skipped. Exits with 1 if no line could be graded.
    """
    from r1kit.rewards.grade_file import grade_stream
    from r1kit.rewards.judge.endpoint import Endpoint
    from r1kit.rewards.services import Settings

    settings = Settings(sandbox, judge=Endpoint(judge_url, judge_model) if judge_url else None)
    with sys.stdin.buffer if answers is None else answers.open("rb") as source:
        try:
            counts = grade_stream(source, sys.stdout.buffer, workers or os.cpu_count() or 1, settings)
        except BrokenPipeError:  # the reader closed the pipe, as in `r1kit grade FILE | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
    say(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())) or "no lines to grade")
    if counts["right"] + counts["wrong"] == 0 or (strict and counts["not graded"]):
        raise typer.Exit(1)


@app.command()
def doctor(json_output: Json = False) -> None:
    """Show what this machine offers and the device, dtype and sandbox that r1kit chooses on it."""
    from r1kit.model.reference import bundled_models
    from r1kit.rewards.sandbox import survey

    result = machine.examine(survey(), bundled_models())
    if json_output:
        _print_json(result)
    else:
        print(machine.render(result))


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 unexpected error or nothing graded, 2 user error, 130 signal."""
    _use_utf8()
    machine.tune_allocator()
    try:
        with signal_handlers():
            app()
    except KeyboardInterrupt:  # before a command began, or after it ended
        sys.exit(130)
    except Exception as error:
        if os.environ.get("R1KIT_DEBUG") == "1":
            raise
        say(failure.message(error))
        sys.exit(failure.exit_code(error))


def _use_utf8() -> None:
    """Read and write UTF-8 whatever the locale is. Under an ASCII locale (`LC_ALL=C`), start Python again for that."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # such as for PYTHONIOENCODING=ascii

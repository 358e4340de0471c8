"""Send the metrics of a run to trackers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from r1kit.commands.options import Json, print_json
from r1kit.errors import UserError
from r1kit.types import TrackerName

if TYPE_CHECKING:
    from r1kit.run_dir import RunDir

FINISH_SECONDS = 600.0  # to send the last rows with --follow


def command(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="the directory of a run")],
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"{', '.join(get_args(TrackerName))}; repeatable; default: the recipe's"),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="go on while the run does, until stdin closes")] = False,
    json_output: Json = False,
) -> None:
    """Send the metrics of a run to trackers: each step once, also after interruptions.

    A running run with `track` in its recipe does this by itself.
    """
    from r1kit.console import heartbeat
    from r1kit.run_dir import RunDir
    from r1kit.trackers import send

    run = RunDir(run_dir)
    names = _names(run, to)
    if follow:
        return _follow(run, names)
    rows: dict[str, dict[str, int]] = {}
    for name in names:
        with heartbeat(f"sending {run_dir} to {name}"), send.opened(run, name) as sender:
            rows[name] = sender.send()
        if not json_output:
            steps = ", ".join(f"{count:,} of {stage}" for stage, count in rows[name].items() if count)
            print(f"{name}: {f'sent {steps} (steps)' if steps else 'nothing new'}; see {send.show(run_dir, name)}")
    if json_output:
        print_json({"run": str(run_dir), "sent": rows})


def _names(run: RunDir, given: list[str] | None) -> list[TrackerName]:
    """Return the trackers of the command line, or else of the recipe."""
    from r1kit.recipe import load_recipe
    from r1kit.recipe.errors import unknown

    if wrong := [name for name in given or () if name not in get_args(TrackerName)]:
        raise UserError(f"--to {wrong[0]}: {unknown('tracker', wrong[0], get_args(TrackerName))}")
    if given:
        return [cast(TrackerName, name) for name in given]
    if not run.recipe.is_file():
        raise UserError(f"{run.path} is not the directory of a run: it has no {run.recipe.name}")
    if not (names := load_recipe(str(run.recipe)).track):
        raise UserError(f"{run.recipe} sets no `track`: name a tracker with --to, such as --to tensorboard")
    return names


def _follow(run: RunDir, names: list[TrackerName]) -> None:
    """Send to one tracker until stdin closes, as `r1kit.run.tracking` asks."""
    import os
    import sys
    import threading

    from r1kit.console import say
    from r1kit.interrupt import exit_now
    from r1kit.trackers import send

    if len(names) > 1:
        raise UserError("--follow sends to one tracker: name it with --to")
    os.nice(10)  # the run goes first
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()
        timer = threading.Timer(FINISH_SECONDS, exit_now, [1])  # such as for a server that does not respond
        timer.daemon = True
        timer.start()

    threading.Thread(target=wait_for_end, daemon=True).start()
    with send.opened(run, names[0], wait=True) as sender:
        say(f"see {send.show(run.path, names[0])}")
        sender.follow(ended.wait)

"""The command line: global options, exit codes and error messages. Each command is a module of `commands/`.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import atexit
import functools
import gc
import inspect
import io
import os
import pkgutil
import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import r1kit
from r1kit import commands, errors, machine
from r1kit.console import complain, detail, is_verbose, set_verbosity
from r1kit.interrupt import exit_interrupted, exit_now, signal_handlers
from r1kit.learn.world import launched_rank

# In the help; others follow by name.
ORDER = "run check recipe eval sample watch report runs lineage grade doctor".split()


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run a command. Typer would print "Aborted!" and exit with 1 for a signal."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise errors.Interrupted("interrupted") from None


app = typer.Typer(
    name="r1kit",
    cls=_Commands,
    help="The DeepSeek-R1 recipe as one resumable command. Start with: r1kit run sprout-zero",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"r1kit {r1kit.__version__}")
        raise typer.Exit


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print only results, warnings and errors")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="print details to find a fault with")]
_in_front = {"quiet": False, "verbose": False}  # these options before the name of the command


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="show the version")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    _in_front.update(quiet=quiet, verbose=verbose)


def _add_commands() -> None:
    paths = [module.name for module in pkgutil.walk_packages(commands.__path__, f"{commands.__name__}.")]
    modules = {path.rpartition(".")[2]: path for path in paths}
    for name in sorted(modules, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)):
        if command := getattr(import_module(modules[name]), "command", None):
            app.command(name)(_with_verbosity(command))


def _with_verbosity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that has the options --quiet and --verbose too. They also count in front of its name."""
    added = {"quiet": Quiet, "verbose": Verbose}

    @functools.wraps(command)
    def run(*args: Any, quiet: bool, verbose: bool, **given: Any) -> Any:
        quiet, verbose = quiet or _in_front["quiet"], verbose or _in_front["verbose"]
        if quiet and verbose:
            raise typer.BadParameter("--quiet and --verbose exclude each other: give one of them")
        set_verbosity("quiet" if quiet else "verbose" if verbose else "normal")
        if verbose:
            installed = machine.versions("torch", "transformers", "tokenizers", "huggingface-hub")
            names = ", ".join(
                f"{name} {version}" for name, version in {"r1kit": r1kit.__version__, **installed}.items()
            )
            detail(f"{names}; Python {sys.version.split()[0]} on {sys.platform}; r1kit {shlex.join(sys.argv[1:])}")
        return command(*args, **given)

    signature = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [inspect.Parameter(name, keyword, default=False, annotation=kind) for name, kind in added.items()]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *options])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, **added}
    return run


_add_commands()


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 unexpected error or nothing graded, 2 user error, 130 signal."""
    _use_utf8()
    machine.tune_allocator()
    atexit.register(gc.freeze)  # else Python's last collection visits every object, which takes a second with torch
    try:
        with signal_handlers():
            app()
    except KeyboardInterrupt:  # before a command began, or after it ended
        exit_interrupted()
    except errors.Interrupted as error:
        complain(errors.message(error))
        exit_interrupted()
    except Exception as error:
        if os.environ.get("R1KIT_DEBUG") == "1" or (is_verbose() and errors.exit_code(error) == 1):
            raise
        complain(errors.message(error))
        code = errors.exit_code(error)
        if launched_rank() is not None:  # torch's connections to other processes may abort a normal exit
            exit_now(code)
        sys.exit(code)


def _use_utf8() -> None:
    """Read and write UTF-8 in every locale. Under an ASCII locale (`LC_ALL=C`), start Python again for that."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # such as for PYTHONIOENCODING=ascii

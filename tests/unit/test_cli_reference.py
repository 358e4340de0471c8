"""docs/cli-reference.md is up to date and lists every argument and option of every command."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from typing import get_type_hints

import pytest
from paths import ROOT

from r1kit import cli_reference, commands

PAGE = (ROOT / "docs/cli-reference.md").read_text(encoding="utf-8")
MODULES = [module.name for module in pkgutil.walk_packages(commands.__path__, f"{commands.__name__}.")]
COMMANDS = {
    name.rpartition(".")[2]: module.command for name in MODULES if hasattr(module := import_module(name), "command")
}


def declared_names(command: Callable[..., None]) -> set[str]:
    """The arguments and options of a command, by its signature."""
    hints = get_type_hints(command, include_extras=True)
    names = set()
    for parameter in inspect.signature(command).parameters:
        [declared] = hints[parameter].__metadata__
        # With Annotated, typer takes the first flag for a default.
        written = [name for name in (declared.default, *(declared.param_decls or ())) if str(name).startswith("-")]
        option = type(declared).__name__ == "OptionInfo"
        written = [each for name in written for each in name.split("/")]  # --this/--not-this
        names |= set(written or ["--" + parameter.replace("_", "-") if option else str(declared.metavar).strip("[].")])
    return names


def test_page_matches_the_commands() -> None:
    """If this fails: python -m r1kit.cli_reference > docs/cli-reference.md."""
    assert cli_reference.render() == PAGE


def test_page_lists_what_all_commands_have_once() -> None:
    """They may also stand before the name of a command."""
    assert (
        PAGE.count("| `--quiet, -q` |") == PAGE.count("| `--verbose, -v` |") == 2 == 2 * PAGE.count("| `--version` |")
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_page_lists_every_argument_and_option(name: str) -> None:
    section = PAGE.partition(f"\n### r1kit {name}\n")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    listed = {word.partition(" ")[0] for cell in cells for word in cell.split(", ")}
    assert listed == declared_names(COMMANDS[name]) != set()

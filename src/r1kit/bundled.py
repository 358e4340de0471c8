"""The recipes that come with the package."""

from __future__ import annotations

from pathlib import Path

INSTALLED = Path(__file__).parent / "recipes"
CHECKOUT = Path(__file__).parents[2] / "recipes"  # in an editable install


def bundled_recipes() -> dict[str, Path]:
    """Return the files of the bundled recipes by name."""
    folder = INSTALLED if INSTALLED.is_dir() else CHECKOUT
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}

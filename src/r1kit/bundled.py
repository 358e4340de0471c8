"""The recipes and claims that come with the package."""

from __future__ import annotations

from pathlib import Path

INSTALLED = Path(__file__).parent
CHECKOUT = Path(__file__).parents[2]  # in an editable install


def bundled_recipes() -> dict[str, Path]:
    """Return the files of the bundled recipes by name."""
    return _bundled("recipes")


def bundled_claims() -> dict[str, Path]:
    """Return the files of the paper's claims by name."""
    return _bundled("claims")


def _bundled(folder: str) -> dict[str, Path]:
    here = INSTALLED / folder
    return {path.stem: path for path in sorted((here if here.is_dir() else CHECKOUT / folder).glob("*.toml"))}

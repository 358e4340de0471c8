"""docs/recipe-reference.md lists every key and is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from r1kit.config import STAGE_KINDS, Curate, Recipe
from r1kit.recipe import reference

PAGE = Path(__file__).parents[3] / "docs" / "recipe-reference.md"
MODELS = [Recipe, *STAGE_KINDS.values(), *dict.fromkeys(reference.nested_tables(Recipe))]


def test_page_is_up_to_date() -> None:
    """If this fails: python -m r1kit.recipe.reference > docs/recipe-reference.md."""
    assert PAGE.read_text(encoding="utf-8") == reference.render()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_has_one_description_that_ends_with_a_period(model: type) -> None:
    descriptions = reference.descriptions(model)
    assert set(descriptions) == set(model.model_fields)
    for text in descriptions.values():
        description, paper = reference.split_paper(text)
        assert text.endswith(".") and description.endswith((".", ".)")) and "Paper" not in description + paper


def test_row_has_type_default_range_paper_and_description() -> None:
    rows = reference.render().splitlines()
    assert "| `ngram` | integer | `10` | > 0 | 10 | Consecutive words in common that count as an overlap. |" in rows
    assert reference.descriptions(Curate)["data_share"].endswith("Paper: 0.25 (200k of 800k).")

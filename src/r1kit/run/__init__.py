"""Running a recipe: resolve its stages, reuse finished ones, resume or run the rest, record where results came from."""

"""The stages of a recipe: one module for each kind, which `run`s from a config and a `StageContext`."""

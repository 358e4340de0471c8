"""What a recipe is about to do: stages, batch sizes, memory and disk space, computed without torch."""

from r1kit.plan.outline import Plan, StagePlan, make_plan
from r1kit.plan.text import render
from r1kit.plan.units import show_bytes, size

__all__ = ["Plan", "StagePlan", "make_plan", "render", "show_bytes", "size"]

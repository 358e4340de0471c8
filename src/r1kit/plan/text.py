"""A plan as text."""

from __future__ import annotations

from r1kit.plan.outline import Plan
from r1kit.plan.units import show_bytes, size


def render(planned: Plan) -> str:
    """Return the plan as text."""
    count = len(planned.stages)
    lines = [f"{planned.name} (seed {planned.seed}): {count} stage{'s' if count > 1 else ''}"]
    for i, stage in enumerate(planned.stages, start=1):
        model = f", {size(stage.parameters)} parameters" if stage.parameters else ""
        lines.append(f"\n{i}. {stage.name} ({stage.kind}{model})")
        lines.append(f"   from     {', '.join(stage.inputs)}")
        lines.append("   does     " + stage.description.replace("\n", "\n            "))
        if stage.memory:
            parts = {name.replace("_", " "): show_bytes(n) for name, n in stage.memory.items() if n and name != "peak"}
            shown = ", ".join(f"{name} {n}" for name, n in parts.items())
            lines.append(f"   memory   about {show_bytes(stage.memory['peak'])} at peak: {shown}")
    return "\n".join(lines + [f"\nwarning: {text}" for text in planned.warnings])

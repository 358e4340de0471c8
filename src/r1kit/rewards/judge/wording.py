"""Put texts into the prompts of judges, so that nothing in them passes for an instruction."""

from __future__ import annotations

import hashlib
import re

MATERIAL = """Question:
{mark}
{question}
{mark}

Reference answer:
{mark}
{gold}
{mark}

Answer to judge:
{mark}
{answer}
{mark}"""  # what a judge compares; `fill` puts it in


def fill(prompt: str, **parts: str) -> str:
    """Return a prompt with its fields in braces filled in. {mark} is a line that the texts do not contain."""
    mark = hashlib.sha256("\0".join(parts.values()).encode(errors="replace")).hexdigest()[:16]
    parts["mark"] = f"====={mark}====="
    return re.sub(r"\{(\w+)\}", lambda field: parts[field[1]], prompt)  # one pass: the texts may contain braces

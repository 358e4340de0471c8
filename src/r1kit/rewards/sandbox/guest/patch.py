"""Replaces attributes of the standard library's modules and classes inside a guest."""

from __future__ import annotations


def patch(target: object, **attributes: object) -> None:
    """Set attributes of a module or class, also where their declared types do not allow the replacement."""
    for name, value in attributes.items():
        setattr(target, name, value)

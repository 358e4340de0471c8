"""`extends = "RECIPE"`: a recipe that writes only what differs from another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TABLES = ("defaults", "stage")  # their tables are merged key by key; every other value replaces the base's


def extended(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the base with these changes. New stages follow those of the base."""
    result = {**base, **changes}
    for group in TABLES:
        old, new = base.get(group, {}), changes.get(group, {})
        if isinstance(old, dict) and isinstance(new, dict) and (old or new):
            result[group] = {**old, **{name: _merged(old.get(name), table) for name, table in new.items()}}
    return result


def _merged(old: Any, new: Any) -> Any:
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new

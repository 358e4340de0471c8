"""Instruction constraints that a program can check (IFEval, arXiv 2311.07911).

Strict mode of that benchmark: the reply is judged unchanged, and an empty reply keeps no constraint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r1kit.data.language.identify import load
from r1kit.rewards.checks.base import Row, Verifier
from r1kit.rewards.checks.ifeval_constraints import CHECKERS, Checker
from r1kit.rewards.reply import Reply
from r1kit.rewards.verdict import Verdict
from r1kit.types import Problem

MAX_CHARACTERS = 100_000  # of a reply
Constraint = tuple[str, Mapping[str, Any]]  # (name, arguments)


class BadConstraint(ValueError):
    """A constraint that does not exist, or whose arguments are missing or of the wrong type."""


def check_all(reply: str, constraints: Sequence[Constraint]) -> list[bool]:
    """Return for each constraint whether the reply keeps it. BadConstraint names one that cannot be checked."""
    return [check(reply, name, arguments) for name, arguments in constraints]


def check(reply: str, name: str, arguments: Mapping[str, Any], checkers: Mapping[str, Checker] = CHECKERS) -> bool:
    """Return whether the reply keeps one constraint. The group in front of the name may be omitted."""
    if name not in checkers:
        full_names = [known for known in checkers if known.partition(":")[2] == name]
        name = full_names[0] if len(full_names) == 1 else name
    if name not in checkers:
        raise BadConstraint(f"unknown constraint {name!r}: use one of {', '.join(sorted(checkers))}")
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        return bool(reply.strip()) and len(reply) <= MAX_CHARACTERS and bool(checkers[name](reply, **given))
    except (TypeError, AttributeError, ValueError) as error:  # only arguments can cause these: a reply is text
        raise BadConstraint(f"constraint {name} with {given}: {error}") from error


def pairs_of(constraints: object, kwargs: object = None) -> list[Constraint]:
    """Return (name, arguments) of constraints in the forms that data sets use.

    With `kwargs`: a list of names. Without: a list of names, of [name, arguments], or of objects with the name under
    "id", "type", "name" or "instruction_id" and the arguments under "kwargs" or in the object; or {name: arguments}.

    Raises:
        BadConstraint: the constraints have another form.
    """
    if isinstance(constraints, Mapping) and "instruction_id_list" in constraints:
        return pairs_of(constraints["instruction_id_list"], constraints.get("kwargs"))
    if isinstance(constraints, str):
        constraints = [constraints]
    if isinstance(constraints, Mapping):
        constraints = [constraints] if set(_NAME_KEYS) & set(constraints) else list(constraints.items())
    if not isinstance(constraints, Sequence) or not constraints:
        raise BadConstraint(f"constraints = {constraints!r}: must be a list of names with their arguments")
    if isinstance(kwargs, Sequence):
        if len(kwargs) != len(constraints):
            raise BadConstraint(f"{len(constraints)} constraints but {len(kwargs)} sets of arguments")
        return [(str(name), dict(arguments or {})) for name, arguments in zip(constraints, kwargs, strict=True)]
    return [_pair(item) for item in constraints]


_NAME_KEYS = ("id", "type", "name", "instruction_id")


def _pair(item: object) -> Constraint:
    if isinstance(item, str):
        return item, {}
    if isinstance(item, Mapping) and (key := next((key for key in _NAME_KEYS if key in item), None)):
        inline = {name: value for name, value in item.items() if name not in (key, "kwargs")}
        return str(item[key]), {**inline, **(item.get("kwargs") or {})}
    if isinstance(item, Sequence) and len(item) == 2 and isinstance(item[1], Mapping | None):
        return str(item[0]), item[1] or {}
    raise BadConstraint(f"{item!r} is not a constraint: give a name, or a name and its arguments")


def _read(problem: Problem) -> list[Constraint]:
    constraints = pairs_of(problem.extra["constraints"], problem.extra.get("kwargs"))
    check_all("a", constraints)  # bad constraints must not count as faults of a reply
    return constraints


def _judge(constraints: Sequence[Constraint], reply: Reply) -> Verdict:
    """Return the share of constraints kept as the value; right when all are kept."""
    if not reply.body:
        return reply.no_answer()
    if len(reply.body) > MAX_CHARACTERS:
        return Verdict(0.0, None, f"the reply has more than {MAX_CHARACTERS} characters", "over_limit")
    kept = check_all(reply.body, constraints)
    broken = [name for (name, _), keeps in zip(constraints, kept, strict=True) if not keeps]
    reason = f"broken: {', '.join(broken)}" if broken else f"all {len(constraints)} constraints kept"
    return Verdict(sum(kept) / len(kept), reply.body, reason, "wrong" if broken else "right")


def _from_row(row: Row) -> dict[str, Any]:
    constraints = row.get("constraints") or row.get("instruction_id_list") or row.get("gold")
    return {"constraints": constraints, "kwargs": row.get("kwargs")}


VERIFIER = Verifier(
    _read,
    _judge,
    from_row=_from_row,
    warm_up=load,
)
